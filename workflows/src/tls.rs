//! The one TLS implementation of the process.

/// Makes `ring` the provider of TLS, unless the program has chosen one before.
pub(crate) fn install() {
    // An error says that one is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
