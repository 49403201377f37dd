//! The command line of palisade: arguments in, a report out, an exit status.

use clap::Parser;
use clap::error::{ContextKind, ContextValue};
use palisade::cli::{Cli, Color, error_json, hint, run};
use palisade::commands::{Report, versioned};
use palisade::error::Error;
use palisade::printable;
use palisade::process::called;
use palisade::process::journal::Stderr;
use palisade::process::progress;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::debug_fn;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let color = choose_color(cli.common.color);
    cli.common.called().into_iter().for_each(called::by);
    log_to_stderr(&cli, color);

    let progress = shows_progress(&cli).then(progress::show);
    let result = run(&cli);
    drop(progress);
    let (status, output) = match result {
        Ok(Report { status, .. }) if cli.common.quiet && !cli.common.json && !cli.command.prints_a_document() => {
            (status, String::new())
        }
        // What is kept as a file is the same wherever it was made.
        Ok(Report { status, text, json }) if cli.command.prints_a_file() => {
            (status, if cli.common.json { document(json) } else { text.as_str().to_owned() })
        }
        Ok(Report { status, json, .. }) if cli.common.json => (status, document(called::repeat_in(json))),
        Ok(Report { status, text, .. }) => (status, called::repeat(text.as_str()).into_owned()),
        Err(error) => {
            complain(&error, color);
            let json = called::repeat_in(error_json(&cli.command, &error));
            (1, if cli.common.json { document(json) } else { String::new() })
        }
    };
    match print(&output) {
        Ok(()) => ExitCode::from(status),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::from(status),
        Err(source) => {
            complain(&Error::Io { what: "can't print".to_owned(), source }, color);
            ExitCode::FAILURE
        }
    }
}

/// Prints help, the version, or the error of a line that is none of palisade's.
fn misused(error: &clap::Error) -> ExitCode {
    // Exit status 2 is an answer of `diff`, so a usage error exits with 1 like any other error.
    let status = ExitCode::from(u8::from(error.use_stderr()));
    if !error.use_stderr() {
        return if error.print().is_ok() { status } else { ExitCode::FAILURE };
    }
    let verb = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(verb)) => Some(verb.as_str()),
        _ => None,
    };
    let hint = verb
        .and_then(|verb| Some(format!("palisade has no command `{}`: {}", printable::printable(verb), hint(verb)?)));
    let asks_for_json =
        std::env::args_os().take_while(|argument| argument != "--").any(|argument| argument == "--json");
    let printed = match &hint {
        Some(hint) => writeln!(anstream::stderr(), "error: {hint}\n\nFor more information, try 'palisade --help'."),
        None => error.print(),
    };
    if asks_for_json {
        let text = error.render().to_string();
        let words = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        let json = json!({ "error": hint.as_deref().unwrap_or(words), "usage": true });
        return if print(&document(json)).is_ok() { status } else { ExitCode::FAILURE };
    }
    if printed.is_ok() { status } else { ExitCode::FAILURE }
}

/// Applies the colour choice to both streams and returns whether standard error is coloured. With `Auto`, each stream
/// is coloured if it is a terminal and NO_COLOR is unset.
fn choose_color(asked: Color) -> bool {
    match asked {
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
        Color::Auto => {}
    }
    Stderr::is_colored()
}

/// Whether a terminal is there to show the progress of a long command.
fn shows_progress(cli: &Cli) -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb");
    std::io::stderr().is_terminal() && !is_dumb && !cli.common.json && !cli.common.quiet
}

fn log_to_stderr(cli: &Cli, color: bool) {
    let level = match (cli.common.quiet, cli.common.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, _) => LevelFilter::TRACE,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(Stderr::detect()).with_ansi(color);
    // Errors quote text from other programs and files.
    let words = debug_fn(|writer, field, value| {
        let text = format!("{value:?}");
        let text = printable::lines(&text);
        if field.name() == "message" { write!(writer, "{text}") } else { write!(writer, "{field}={text}") }
    });
    log.without_time().with_target(false).fmt_fields(words.delimited(" ")).init();
}

/// Prints an error and its causes to standard error.
fn complain(error: &Error, color: bool) {
    let text = error.in_full(color);
    // Nothing can be done if standard error can't be written to.
    let _ = Stderr::detect().at(tracing::Level::ERROR).write_all(format!("{text}\n").as_bytes());
}

/// What `--json` prints.
fn document(json: Value) -> String {
    printable::json(&versioned(json)) + "\n"
}

/// Prints the output of a command; styles are stripped where colour is off.
fn print(output: &str) -> std::io::Result<()> {
    let mut stdout = anstream::AutoStream::auto(std::io::stdout().lock());
    stdout.write_all(output.as_bytes())?;
    stdout.flush()
}
