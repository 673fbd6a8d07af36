//! Tessera.
use std::ffi::OsString;

use clap::{Parser, Subcommand};
use tessera::store::embedded;

/// Decides which creative each person sees.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Becomes a process of the private PostgreSQL cluster; only Tessera itself calls it.
    #[command(name = embedded::guard::SUBCOMMAND, hide = true)]
    PostgresGuard {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Some(Command::PostgresGuard { args }) => match embedded::guard::run(&args)? {},
        None => Ok(()),
    }
}
