//! Passwords, from the configuration or from a file of their own.

use std::io::Read;

use crate::model::{LocalTrouble, ProbeOutcome, Secret};

/// The longest password.
const LIMIT: u64 = 1024;

/// The bytes of a password; none for no password. A file is read anew for every probe, its first line counts.
pub(super) async fn read(secret: Option<&Secret>) -> Result<Vec<u8>, ProbeOutcome> {
    let path = match secret {
        None => return Ok(Vec::new()),
        Some(Secret::Text(text)) => return Ok(text.clone().into_bytes()),
        Some(Secret::File(path)) => path.clone(),
    };
    let shown = path.display().to_string();
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(LIMIT).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    });
    let trouble = |why: String| ProbeOutcome::Local(LocalTrouble::Setup(why.into()));
    match read.await {
        Ok(Ok(mut bytes)) => {
            let end = bytes
                .iter()
                .position(|byte| matches!(byte, b'\r' | b'\n'))
                .unwrap_or(bytes.len());
            bytes.truncate(end);
            Ok(bytes)
        }
        Ok(Err(error)) => Err(trouble(format!("cannot read {shown}: {error}"))),
        Err(error) => Err(trouble(error.to_string())),
    }
}

/// The password as text, for whoever logs in elsewhere than a probe does.
///
/// # Errors
/// Why it cannot be read, in words.
pub(crate) async fn read_secret(secret: &Secret) -> Result<String, String> {
    match read(Some(secret)).await {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| "the password is not UTF-8".to_owned()),
        Err(ProbeOutcome::Local(trouble)) => Err(trouble.to_string()),
        Err(_) => Err("the password cannot be read".to_owned()),
    }
}
