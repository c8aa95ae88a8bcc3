//! One side: a server of one worker, until its standard input ends.

use std::io::{Read, stdin};
use std::net::{Ipv4Addr, TcpListener};
use std::{process, thread};

use anyhow::{Context, Result};
use axum::serve::ListenerExt;

use crate::cases::{Framework, Served};

/// Serves the requests to a path, and prints the port.
///
/// # Errors
///
/// If there is no such framework, application or path, or the server cannot start.
pub fn serve(framework: &str, application: &str, path: &str) -> Result<()> {
    let frameworks = Framework::ALL.into_iter();
    let framework = frameworks.into_iter().find(|known| known.to_string() == framework).context("no such framework")?;
    let application = Served::ALL.into_iter().find(|known| known.name() == application).context("no such side")?;
    // Whoever started it may be gone without a word.
    thread::spawn(|| {
        let _ = stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if framework == Framework::Rocket {
        return runtime.block_on(application.rocket(path, |port| println!("{port}")));
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    if framework == Framework::Actix {
        return actix_web::rt::System::new().block_on(application.actix(path, listener));
    }
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        Ok(axum::serve(listener, application.axum(path)?).await?)
    })
}
