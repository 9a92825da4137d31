//! `watchtower sink test`.

use std::process::ExitCode;

use anyhow::bail;

use watchtower_sinks::trials;

use crate::cli::SinkTestArgs;
use crate::config::Settings;

/// Prints a line for each sink; fails if one did not accept the sample.
pub(super) fn run(args: &SinkTestArgs) -> anyhow::Result<impl Future<Output = ExitCode>> {
    let mut sinks = Settings::load(&args.settings)??.sinks;
    if let Some(name) = &args.name {
        let known: Vec<_> = sinks.iter().map(|sink| sink.name.clone()).collect();
        sinks.retain(|sink| sink.name == *name);
        if sinks.is_empty() {
            let file = args.settings.display();
            bail!(
                "[sinks.{name}] not found in {file}; configured: {}",
                known.join(", ")
            );
        }
    }
    Ok(async move {
        let mut failed = false;
        for trial in trials(&sinks).await {
            let (sink, kind, id) = (&trial.sink, trial.kind, trial.id);
            match trial.verdict {
                None => println!("{sink} ({kind})  off    no address configured"),
                Some(Ok(())) => println!("{sink} ({kind})  ok     test event {id} accepted"),
                Some(Err(why)) => {
                    failed = true;
                    println!("{sink} ({kind})  ERROR  {why}");
                }
            }
        }
        if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    })
}
