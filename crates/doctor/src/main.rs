//! The command `tollgate`.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use http::Uri;
use tollgate_core::BoxError;
use tollgate_doctor::{CONNECTIONS, Doctor, IDLE, INTERVAL, Top, TopTarget};

/// The exit code of a command that could not be carried out.
const FAILED: u8 = 3;

/// Looks after the outbound HTTP calls of services.
#[derive(Parser)]
#[command(version, name = "tollgate")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Examines this host and an origin: what is wrong, worst first, and the option to set.
    ///
    /// Exits with 0 if nothing was found, 1 with warnings, 2 if something is critical, 3 if it could
    /// not be carried out.
    Doctor(Box<DoctorArguments>),
    /// Shows an application's pool, or a process as the kernel sees it, live.
    Top(TopArguments),
}

#[derive(clap::Args)]
struct DoctorArguments {
    /// The origin, with a path that answers a GET.
    url: Uri,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Seconds to watch an idle connection for its close.
    #[arg(long, default_value_t = IDLE.as_secs(), value_parser = clap::value_parser!(u64).range(..=3600))]
    idle: u64,
    /// Connections to open at once; 0 for none.
    #[arg(long, default_value_t = CONNECTIONS)]
    connections: usize,
    /// A PEM file of certificates to trust besides Mozilla's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The /stats of the application that calls the origin.
    #[arg(long, value_name = "URL")]
    stats: Option<Uri>,
    /// The file that names the nameservers.
    #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf")]
    resolv_conf: PathBuf,
    /// The process whose descriptors count.
    #[arg(long)]
    pid: Option<u32>,
}

#[derive(clap::Args)]
struct TopArguments {
    /// The URL of an application's /stats, or the number of a process.
    target: TopTarget,
    /// Print one frame and exit: rates are those of one interval.
    #[arg(long)]
    once: bool,
    /// Seconds between frames.
    #[arg(long, default_value_t = INTERVAL.as_secs_f64())]
    interval: f64,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Doctor(arguments) => doctor(*arguments).await,
        Command::Top(arguments) => top(arguments).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            drop(writeln!(stderr(), "tollgate: {}", with_causes(&*error)));
            ExitCode::from(FAILED)
        }
    }
}

/// An error with those of its causes that its own text lacks.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

async fn doctor(arguments: DoctorArguments) -> Result<ExitCode, BoxError> {
    let mut doctor = Doctor::new(arguments.url)
        .idle(Duration::from_secs(arguments.idle))
        .connections(arguments.connections)
        .resolv_conf(arguments.resolv_conf);
    if let Some(path) = &arguments.ca {
        let read = std::fs::read(path);
        doctor = doctor.ca(read.map_err(|error| format!("{}: {error}", path.display()))?);
    }
    if let Some(url) = arguments.stats {
        doctor = doctor.stats(url.to_string());
    }
    if let Some(pid) = arguments.pid {
        doctor = doctor.pid(pid);
    }
    let report = doctor.run(progress).await?;
    // Before the report: both may go to one terminal.
    clear_progress();
    if arguments.json {
        serde_json::to_writer_pretty(stdout(), &report)?;
        writeln!(stdout())?;
    } else {
        write!(stdout(), "{report}")?;
    }
    Ok(ExitCode::from(report.exit_code()))
}

/// One line that the next step overwrites, on a terminal only.
fn progress(step: &str) {
    if stderr().is_terminal() {
        // Standard output is the report's, which may be JSON for a program.
        drop(write!(stderr(), "\r\x1b[K… {step}"));
    }
}

fn clear_progress() {
    if stderr().is_terminal() {
        drop(write!(stderr(), "\r\x1b[K"));
    }
}

async fn top(arguments: TopArguments) -> Result<ExitCode, BoxError> {
    let every = Duration::try_from_secs_f64(arguments.interval)?;
    let mut top = Top::new(arguments.target)?;
    if arguments.once {
        // The first frame is what the rates of the second are measured from.
        top.frame().await?;
        tokio::time::sleep(every).await;
        write!(stdout(), "{}", top.frame().await?)?;
    } else {
        top.live(every).await?;
    }
    Ok(ExitCode::SUCCESS)
}
