//! A release waits for no secret that nobody wrote: each region's Vault is looked at before anything is written.

use std::fs;
use std::path::PathBuf;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use local_region::pki::Ca;
use local_region::vault::{Admin, VaultServer};
use rcgen::KeyPair;
use serde_json::json;

use crate::charts::good;
use crate::run::Ran;
use crate::world::{World, writes};

const SECRETS: [&str; 4] = ["config", "tls", "clients", "signing-keys"];
const CANARY: &str = "canary-7f3a";

/// Two regions with one Vault, which each knows by a name of its own, and a pipeline's identity.
struct Secrets {
    world: World,
    vault: VaultServer,
    admin: Admin,
    key: KeyPair,
    release: String,
}

impl Secrets {
    async fn start() -> Self {
        let world = World::start().await;
        let vault = VaultServer::start(&Ca::new("region").unwrap()).await.unwrap();
        world.in_one_wave();
        for (region, host) in [("eu", "localhost"), ("us", "127.0.0.1")] {
            let address = vault.url().replace("localhost", host);
            let file = world.catalogue.join(format!("production/{region}.yaml"));
            let text = fs::read_to_string(&file).unwrap();
            fs::write(&file, format!("{text}vault: {{ address: {address} }}\n")).unwrap();
        }
        let admin = vault.admin();
        admin.mount_kv("kv").await.unwrap();
        for secret in SECRETS {
            admin.put("kv", &format!("service/{secret}"), &json!({"value": CANARY}), None).await.unwrap();
        }
        let policy = ["metadata/service/*", "subkeys/service/*", "data/client/probe"]
            .map(|path| format!("path \"kv/{path}\" {{ capabilities = [\"read\"] }}\n"));
        admin.write_policy("promoter", &policy.concat()).await.unwrap();
        admin.put("kv", "client/probe", &json!({"secret": CANARY}), None).await.unwrap();
        let key = KeyPair::generate().unwrap();
        admin.enable_jwt(&[key.public_key_pem()]).await.unwrap();
        let role = json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["organisation"],
            "bound_claims": {
                "oidc.circleci.com/project-id": "meridian", "oidc.circleci.com/context-ids": "production",
                "oidc.circleci.com/vcs-ref": "refs/heads/main", "oidc.circleci.com/ssh-rerun": false,
            },
            "token_policies": ["promoter"], "token_ttl": "5m", "token_max_ttl": "5m",
        });
        admin.create_jwt_role("promoter", role).await.unwrap();
        let release = world.release(&good("1.0.0")).await;
        Self { world, vault, admin, key, release }
    }

    /// A token as CircleCI signs them, for a job of this project, in a file.
    fn token(&self, project: &str, rerun: bool) -> PathBuf {
        let now = jiff::Timestamp::now().as_second();
        let claims = json!({
            "iss": "https://oidc.circleci.com/org/organisation", "sub": "org/organisation/project/p/user/u",
            "aud": "organisation", "iat": now - 10, "exp": now + 600,
            "oidc.circleci.com/project-id": project, "oidc.circleci.com/context-ids": ["production"],
            "oidc.circleci.com/vcs-ref": "refs/heads/main", "oidc.circleci.com/ssh-rerun": rerun,
        });
        let key = EncodingKey::from_ec_der(&self.key.serialize_der());
        let token = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap();
        let file = self.world.folder.path().join(format!("jwt-{project}-{rerun}"));
        fs::write(&file, token).unwrap();
        file
    }

    async fn promote(&self, token: &str, authority: &str) -> Ran {
        let ran =
            self.world.promote(&self.release, &["--vault-jwt-file", token, "--vault-ca", authority]).await;
        ran.says_not(CANARY).says_not("eyJ");
        ran
    }

    async fn promote_as(&self, project: &str) -> Ran {
        let token = self.token(project, false);
        self.promote(token.to_str().unwrap(), self.vault.ca_file().to_str().unwrap()).await
    }

    /// Neither region was written to.
    fn nothing_was_written(&self) {
        assert!(writes(&self.world.eu).is_empty() && writes(&self.world.us).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn what_vault_cannot_deliver_is_told_before_anything_is_written() {
    let secrets = Secrets::start().await;
    secrets.admin.destroy("kv", "service/tls", &[1]).await.unwrap();
    secrets.admin.remove("kv", "service/clients").await.unwrap();
    let ran = secrets.promote_as("meridian").await.expect(1);
    ran.says("us: its Vault cannot deliver what the release needs")
        .says("kv/service/clients was never written; write it with: vault kv put -mount=kv service/clients @FILE.json")
        .says("kv/service/tls is destroyed in its current version");
    secrets.nothing_was_written();

    for secret in ["tls", "clients"] {
        secrets.admin.put("kv", &format!("service/{secret}"), &json!({"value": CANARY}), None).await.unwrap();
    }
    let ran = secrets.promote_as("meridian").await.expect(0);
    ran.says("eu: applied").says("us: applied").says_not("is not asked").says_not("no tokens");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn what_is_not_looked_at_without_an_identity_is_said_in_the_plan() {
    let world = World::start().await;
    let release = world.release(&good("1.0.0")).await;
    let ran = world.promote(&release, &["--dry-run"]).await.expect(0);
    ran.says(
        "Vault is not asked whether it has what the release needs: give --vault-ca with --vault-jwt-file",
    );
    ran.says("no client of its own is known, so no tokens are asked for while it bakes");
    let found = world.promote(&release, &["--dry-run", "--output", "json"]).await.expect(0).json();
    assert_eq!(found["regions"][0]["skipped"], json!(["secrets", "tokens"]));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_vault_without_the_clients_secret_is_said_in_the_plan() {
    let secrets = Secrets::start().await;
    secrets.admin.remove("kv", "client/probe").await.unwrap();
    let ran = secrets.promote_as("meridian").await.expect(0);
    ran.says("eu: its Vault has no secret at kv/client/probe, so no tokens are asked for while it bakes");
    ran.says_not("Vault is not asked");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_vault_that_does_not_let_the_pipeline_in_ends_the_promotion() {
    let secrets = Secrets::start().await;
    let authority = secrets.vault.ca_file();
    let authority = authority.to_str().unwrap();
    for token in [secrets.token("another", false), secrets.token("meridian", true)] {
        let ran = secrets.promote(token.to_str().unwrap(), authority).await.expect(1);
        ran.says("eu: look at its secrets").says("check the role promoter of auth/jwt");
    }
    secrets.admin.write_policy("promoter", "# Nothing.\n").await.unwrap();
    let ran = secrets.promote_as("meridian").await.expect(1);
    ran.says("Vault answered 403").says(
        "check the role promoter of auth/jwt (its audience, bound claims and policy): regions vault apply",
    );

    let token = secrets.token("meridian", false);
    let stranger = secrets.world.folder.path().join("stranger.pem");
    fs::write(&stranger, Ca::new("stranger").unwrap().pem()).unwrap();
    let (token, stranger) = (token.to_str().unwrap(), stranger.to_str().unwrap());
    secrets
        .promote(token, stranger)
        .await
        .expect(1)
        .says("POST auth/jwt/login at https://")
        .says("certificate");
    secrets
        .promote(stranger, stranger)
        .await
        .expect(2)
        .says("stranger.pem: it should hold a token and nothing else");
    secrets.promote(token, token).await.expect(2).says("it holds no PEM certificate");
    secrets.vault.seal().await.unwrap();
    secrets.promote_as("meridian").await.expect(1).says("Vault answered 503").says("unseal it");
    secrets.nothing_was_written();
}
