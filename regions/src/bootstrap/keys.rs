//! Shares of a Vault's key: how they are made, shown to the operator once, and asked for.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::io::retry_on_intr;
use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::Args;
use crate::vault::seal::{Born, Hidden, SealStatus, Shares};

/// A public key is not larger.
const LARGEST: u64 = 1024 * 1024;

const ARMOUR: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// How many shares the command line asks for, and to whom they are encrypted.
pub(super) fn shares(args: &Args) -> Result<Shares, String> {
    let pgp_keys = args.pgp_key.iter().map(|file| public_key(file)).collect::<Result<Vec<_>, _>>()?;
    let keys = u8::try_from(pgp_keys.len()).map_err(|_| "at most 32 OpenPGP keys".to_owned())?;
    let count = args.key_shares.unwrap_or(if keys == 0 { 5 } else { keys });
    if keys != 0 && keys != count {
        return Err(format!("--key-shares {count} needs as many --pgp-key, not {keys}"));
    }
    let threshold = args.key_threshold.unwrap_or(count / 2 + 1);
    if threshold > count {
        return Err(format!("--key-threshold {threshold} is more than the {count} shares that there are"));
    }
    if threshold == 1 && count > 1 {
        return Err("Vault makes several shares only where at least two are needed (--key-threshold)".into());
    }
    Ok(Shares { count, threshold, pgp_keys })
}

/// A public key as Vault takes it, in base64; the file may be armoured or not.
fn public_key(file: &Path) -> Result<String, String> {
    let refuse = |why: &str| format!("{}: {why}", file.display());
    let mut bytes = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    read.map_err(|error| refuse(&error.to_string()))?;
    if bytes.len() as u64 > LARGEST {
        return Err(refuse("it is larger than 1 MiB; it should hold one public key"));
    }
    dearmoured(&bytes)
        .ok_or_else(|| refuse("it holds no OpenPGP public key; write one with: gpg --export NAME"))
}

fn dearmoured(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok().and_then(|text| text.trim_start().strip_prefix(ARMOUR));
    let Some(text) = text else {
        // Tag 6, a public key, in either form of header (RFC 9580, section 4.2).
        let public = bytes.first().is_some_and(|first| *first == 0xC6 || *first & 0xFC == 0x98);
        return public.then(|| STANDARD.encode(bytes));
    };
    // Headers end at the first empty line; the checksum begins with an equals sign.
    let body = text.lines().skip(1).skip_while(|line| !line.trim().is_empty());
    let body = body.map(str::trim).take_while(|line| !line.starts_with('=') && !line.starts_with('-'));
    let body: String = body.collect();
    STANDARD.decode(&body).ok().filter(|bytes| !bytes.is_empty()).map(|_| body)
}

/// Whether shares can be given to somebody. Asked before a Vault is initialised.
pub(super) fn presentable(shares: &Shares, json: bool) -> Result<(), String> {
    if !shares.pgp_keys.is_empty() || (!json && io::stdout().is_terminal()) {
        return Ok(());
    }
    Err("the shares of the new Vault are shown on a terminal only: run it on one (without --output json), or name \
         an OpenPGP key for each share (--pgp-key)"
        .into())
}

/// Shows shares in clear, at once and in one piece.
pub(super) fn show(born: &Born, status: &SealStatus, threshold: u8) -> io::Result<()> {
    let kind = if status.unseals_itself { "recovery keys" } else { "unseal keys" };
    let mut text = Zeroizing::new(String::with_capacity(4096));
    text.push_str(&format!(
        "\nThe {kind} of this Vault; {threshold} of {} are needed. They are shown now and never again.\n\n",
        born.shares.len()
    ));
    for (number, share) in (1..).zip(&born.shares) {
        text.push_str(&format!("  {number:>2}  "));
        text.push_str(share);
        text.push('\n');
    }
    text.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Whether somebody is there who can be asked.
pub(super) fn attended() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Waits until the operator says that the shares are stored. Blocks.
pub(super) fn stored() -> io::Result<()> {
    prompt("Give each to another person. Press Enter when all are stored: ")?;
    line().map(drop)
}

/// The terminal shows nothing of what is typed as long as this lives. What was typed before, or is pasted in one
/// piece, is not lost.
pub(super) struct Silence(Termios);

impl Silence {
    pub(super) fn begin() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin(), OptionalActions::Now, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}

/// Asks for so many shares. Blocks.
pub(super) fn ask(count: u64, kind: &str) -> io::Result<Vec<Hidden>> {
    let mut shares: Vec<Hidden> = Vec::new();
    while (shares.len() as u64) < count {
        prompt(&format!("{kind} {} of {count} (not shown): ", shares.len() + 1))?;
        let line = line()?;
        // The line's end was not shown either.
        prompt("\n")?;
        let share = Zeroizing::new(line.trim().to_owned());
        if share.is_empty() {
            return Err(io::Error::other("nothing was typed"));
        }
        if shares.contains(&share) {
            prompt("that one was given already\n")?;
            continue;
        }
        shares.push(share);
    }
    Ok(shares)
}

fn prompt(text: &str) -> io::Result<()> {
    io::stderr().write_all(text.as_bytes())
}

/// One line from the terminal, past the standard library's buffer, which would keep it. Empty at the end of input.
fn line() -> io::Result<Hidden> {
    // A terminal gives one line to one read, and takes none that is longer (termios, canonical mode).
    let mut bytes = Zeroizing::new([0; 4096]);
    let count = retry_on_intr(|| rustix::io::read(stdin(), &mut bytes[..]))?;
    let text = std::str::from_utf8(&bytes[..count]).map_err(|_| io::Error::other("not text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_keys_are_taken_armoured_or_not() {
        let binary = [0x98, 0x33, 4, 1, 2, 3];
        let expected = STANDARD.encode(binary);
        assert_eq!(dearmoured(&binary), Some(expected.clone()));
        let armoured = format!(
            "{ARMOUR}\nComment: x\n\n{}\n{}\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n",
            &expected[..4],
            &expected[4..]
        );
        assert_eq!(dearmoured(armoured.as_bytes()), Some(expected));
        for wrong in [&b""[..], b"hello", b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n", &[0x95, 3, 5]] {
            assert_eq!(dearmoured(wrong), None);
        }
        assert_eq!(dearmoured(format!("{ARMOUR}\n\n%%%\n").as_bytes()), None);
    }
}
