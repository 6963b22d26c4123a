//! Serves an embedded Kinesis until Ctrl-C. Usage: `serve [listen address] [name:shards]…`.

use std::net::SocketAddr;

use distributary_local::Local;
use distributary_local::server::{RequestLog, ServerOptions, StreamSpec, serve};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let listen: SocketAddr = args.next().as_deref().unwrap_or("127.0.0.1:4567").parse()?;
    let local = Local::builder().build();
    for stream in args {
        let StreamSpec { name, shards } = stream.parse()?;
        local.create_stream(&name, shards)?;
    }

    let request_log = RequestLog::to(std::io::stderr());
    let options = ServerOptions {
        listen,
        request_log,
        ..ServerOptions::default()
    };
    let handle = serve(local, options).await?;
    println!("{}", handle.endpoint());

    tokio::signal::ctrl_c().await?;
    handle.shutdown().await;
    Ok(())
}
