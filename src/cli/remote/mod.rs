//! Commands that talk to a server: upload, submit, jobs, show, cancel, resolve.

mod bring;
mod cancel;
mod jobs;
mod resolve;
mod show;
mod submit;
mod text;
mod upload;

use callsheet::server::client::{Client, ClientError};
use clap::Args;

use crate::cli::error::{CliError, Result};
use crate::cli::{correct, env};

pub(crate) use cancel::{CancelArgs, cancel};
pub(crate) use jobs::{JobsArgs, jobs};
pub(crate) use resolve::{ResolveArgs, resolve};
pub(crate) use show::{ShowArgs, show};
pub(crate) use submit::{SubmitArgs, submit};
pub(crate) use upload::{UploadArgs, upload};

/// Which server, and how it knows us.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArgs {
    /// Address of the server
    #[arg(long, env = env::SERVER, default_value = "http://127.0.0.1:7070", value_name = "URL")]
    server: String,

    /// Token that the server asks for
    #[arg(long, env = env::TOKEN, hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
}

impl ServerArgs {
    /// A client for the server; nothing is sent yet.
    ///
    /// # Errors
    /// When the address or the token cannot be one.
    pub(crate) fn client(&self) -> Result<Client> {
        let token = self.token.clone().filter(|token| !token.is_empty());
        Client::new(&self.server, token).map_err(|error| self.complain(&error))
    }

    /// A failure of the client in the words of the command.
    pub(crate) fn complain(&self, error: &ClientError) -> CliError {
        if let ClientError::Connection(why) = error {
            let server = correct::quote(&self.server);
            return CliError::failed(format!("cannot reach `{server}`: {why} [{}]", error.code()))
                .maybe_hint(error.hint().map(str::to_owned))
                .hint(format!("another server is named with --server or {}", env::SERVER));
        }
        let mut message = format!("{error} [{}]", error.code());
        for problem in error.problems() {
            message.push_str(&format!("\n{}", text::problem(problem)));
        }
        CliError::failed(message).maybe_hint(error.hint().map(str::to_owned))
    }
}
