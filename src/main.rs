//! The `ganger` program: hands the command line to [`ganger::cli`] and returns its exit code.

fn main() -> std::process::ExitCode {
    ganger::cli::main()
}
