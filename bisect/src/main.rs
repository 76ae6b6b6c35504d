//! vmbisect: finds the commit that broke a Linux kernel.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
