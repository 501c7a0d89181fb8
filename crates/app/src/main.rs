//! `landfall`: reads flags, wires rooms together, shows what happens, and picks an exit code.
//!
//! Every decision is made elsewhere. Exit codes: 0 done; 1 failed; 2 usage or invalid input;
//! 3 the plan has changes, with `--detailed-exitcode`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the front door: output is its work"
)]

mod cli;
mod clusters;
mod commands;
mod files;
mod show;
mod trouble;
mod world;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let paint = show::Paint::for_stdout();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: could not start: {error}");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(commands::run(arguments, paint)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => trouble::report(&error),
    }
}
