//! The peer of `/v1/region`: hyper and rustls with nothing above them, sending the bytes of a file.
//!
//! `bare-hyper CERTIFICATE.pem KEY.pem BODY HEADERS ADDRESS` answers every request with the body in the
//! file BODY and the headers in the file HEADERS (one `name: value` a line), so that both servers of the
//! comparison put the same bytes on the wire.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [certificate, key, body, headers, address] = arguments.as_slice() else {
        return Err("usage: bare-hyper CERTIFICATE.pem KEY.pem BODY HEADERS ADDRESS".into());
    };
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));

    let body = Bytes::from(std::fs::read(body)?);
    let headers = read_headers(&std::fs::read_to_string(headers)?)?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (acceptor, body, headers) = (acceptor.clone(), body.clone(), headers.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let answer = service_fn(|_request| {
                let mut response = Response::new(Full::new(body.clone()));
                *response.headers_mut() = headers.clone();
                async move { Ok::<_, Infallible>(response) }
            });
            // A client that goes away is no failure of the peer.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

fn read_headers(text: &str) -> Result<HeaderMap, Box<dyn Error>> {
    text.lines()
        .map(|line| {
            let (name, value) = line.split_once(':').ok_or("a header line has no colon")?;
            Ok((HeaderName::try_from(name.trim())?, HeaderValue::try_from(value.trim())?))
        })
        .collect()
}
