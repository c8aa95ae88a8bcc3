//! Serves the demo: `cargo run -p demo`, then open http://127.0.0.1:3000. With `HTTPS=1` it says how to open it.

use std::io::IsTerminal;
use std::process::ExitCode;

use demo::config::Config;
use demo::pages::binding;
use demo::server::Server;
use demo::shutdown;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .init();
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::from_env()?;
    let server = Server::start(&config).await?;
    println!("The demo is at {}", server.origin()?);
    if let Some(front) = server.front() {
        println!("Open it with: {}", binding::chromium(front, "victim"));
    }
    if let Some(address) = server.metrics_address()? {
        println!("Its metrics are at http://{address}/metrics");
    }
    println!("Its database is {}", config.database.display());
    server.serve(shutdown::signal()).await?;
    tracing::info!("stopped");
    Ok(())
}
