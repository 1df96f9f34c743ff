//! What every real API server of the tests is started with: its tokens, keys and flags, and kubeconfigs for it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::Result;

/// The key that signs the tokens of service accounts.
pub(crate) const SIGNING_KEY: &str = "service-accounts.key";

/// The key that verifies them.
const VERIFYING_KEY: &str = "service-accounts.pub";

/// The tokens of users.
const TOKENS: &str = "tokens.csv";

/// Writes the files that [`common_flags`] name. The tokens are lines from [`token_line`].
pub(crate) fn write_files(folder: &Path, tokens: &str) -> Result<()> {
    fs::write(folder.join(TOKENS), tokens)?;
    // The API server signs service account tokens with this algorithm, among others.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    fs::write(folder.join(SIGNING_KEY), key.serialize_pem())?;
    fs::write(folder.join(VERIFYING_KEY), key.public_key_pem())?;
    Ok(())
}

/// The flags of every API server, with the folder of [`write_files`] as the server sees it.
pub(crate) fn common_flags(folder: &Path) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    flags(&[
        ("allow-privileged", "true"),
        ("authorization-mode", "Node,RBAC"),
        ("profiling", "false"),
        ("service-account-issuer", "https://kubernetes.default.svc"),
        ("service-account-key-file", &file(VERIFYING_KEY)),
        ("service-account-signing-key-file", &file(SIGNING_KEY)),
        ("service-cluster-ip-range", "10.96.0.0/16"),
        ("token-auth-file", &file(TOKENS)),
    ])
}

/// Flags with their values.
pub(crate) fn flags(flags: &[(&str, &str)]) -> Vec<String> {
    flags.iter().map(|(flag, value)| format!("--{flag}={value}")).collect()
}

/// A user's line in the file of tokens.
pub(crate) fn token_line(token: &str, user: &str, group: &str) -> String {
    format!("{token},{user},{user},\"{group}\"\n")
}

/// A kubeconfig of the user with this token. The authority is a file.
pub(crate) fn kubeconfig(server: &str, authority: &Path, token: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "cluster",
        "clusters": [{ "name": "cluster", "cluster": { "server": server, "certificate-authority": authority } }],
        "users": [{ "name": "user", "user": { "token": token } }],
        "contexts": [{ "name": "cluster", "context": { "cluster": "cluster", "user": "user" } }],
    })
}
