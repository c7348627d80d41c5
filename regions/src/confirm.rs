//! Questions before the first write.

use std::io::{IsTerminal as _, Write as _};

/// What is said where nobody can be asked, and the plan was shown.
pub(crate) const LOOK_FIRST: &str = "nobody can be asked here; look at the plan above, then add --yes";

/// Asks on the terminal. Where nobody can be asked it is not confirmed, and `unasked` says what to do.
///
/// # Errors
/// The answer is not yes, or there is none.
pub(crate) async fn confirm(question: &str, unasked: &str) -> Result<(), String> {
    if !std::io::stdin().is_terminal() {
        return Err(unasked.to_owned());
    }
    let mut err = std::io::stderr();
    let _ = write!(err, "{question} [y/N] ");
    let _ = err.flush();
    let read = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = read.await.ok().and_then(Result::ok).unwrap_or_default();
    let yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if yes { Ok(()) } else { Err("not confirmed".into()) }
}
