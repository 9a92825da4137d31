//! Commands of the program, one function each.

use std::process::ExitCode;

use anyhow::Context as _;

use watchtower_base::secret::Secret;
use watchtower_codec as codec;

use crate::cli::{Command, PublishArgs, SinkCommand};
use crate::config::{Config, Secrets};
use crate::serve::App;
use crate::tasks::shutdown_signal;

/// Runs one command of the command line.
pub async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    let secrets = Secrets::from_env();
    match command {
        Command::Serve(args) => {
            let config = Config::load(args.places.into(), secrets)?;
            crate::private::warn_of_readers([&config.places.data, &config.places.logs]);
            let app = App::bind(config).await?;
            if let Some(file) = &args.ready_file {
                app.tell_ready(file)
                    .with_context(|| format!("failed to write {}", file.display()))?;
            }
            app.run(shutdown_signal()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check(places) => Ok(crate::check::run(places.into(), secrets).await),
        Command::Publish(args) => publish(args, secrets).await,
        Command::Replay(args) => {
            let config = Config::load(args.look.places(), secrets)?;
            crate::replay::replay(config, args.look.into()).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Eval(args) => {
            let config = Config::load(args.look.places(), secrets)?;
            let (labels, json) = (args.labels, args.json);
            crate::replay::eval(
                config,
                args.look.into(),
                &labels,
                json.as_deref(),
                args.every,
            )
            .await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Explain(args) => crate::explain::run(&args).await,
        Command::Tail(args) => crate::tail::run(&args),
        Command::Sink(SinkCommand::Test(args)) => Ok(crate::sink_test::run(&args)?.await),
        Command::Agent(args) => {
            crate::remote_agent::run(args, secrets, shutdown_signal()?).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

pub(crate) async fn publish(args: PublishArgs, secrets: Secrets) -> anyhow::Result<ExitCode> {
    let stop = shutdown_signal()?;
    let key = secrets.stream_key.as_ref().map(Secret::expose);
    let report = codec::publish(&args.file, &args.to, key, args.looping, &stop).await?;
    tracing::info!(
        seconds = report.played.as_secs(),
        loops = report.loops,
        bytes = report.bytes,
        "publishing finished"
    );
    Ok(ExitCode::SUCCESS)
}
