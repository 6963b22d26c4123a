//! The embedded Kinesis of `run --local`.

use distributary_config::Process;
use distributary_core::text::chain;
use distributary_local::server::{self, ServerOptions};
use distributary_local::{CreateError, Local};

use crate::failure::Failure;

/// Creates the sources' streams, for the embedded Kinesis starts empty (outputs are created by
/// their kind), and lets other programs on this machine write to them and read them.
pub(crate) async fn prepare(local: &Local, process: &Process) -> Result<(), Failure> {
    create_streams(local, process)?;

    // A process that ends when it has caught up has nobody to serve.
    if process.until_caught_up {
        return Ok(());
    }
    let endpoint = serve(local).await?;
    for fan_out in &process.fan_outs {
        let name = fan_out.source.default_name();
        tracing::info!(
            "embedded Kinesis at {endpoint}; write to it: AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x \
             distributary put {name} --endpoint-url {endpoint} hello"
        );
    }
    Ok(())
}

fn create_streams(local: &Local, process: &Process) -> Result<(), Failure> {
    for fan_out in &process.fan_outs {
        let name = fan_out.source.default_name();
        match local.create_stream(&name, 1) {
            Ok(()) | Err(CreateError::Exists { .. }) => {}
            Err(error @ (CreateError::Name { .. } | CreateError::Shards { .. })) => {
                return Err(Failure::usage(chain(&error)));
            }
        }
    }
    Ok(())
}

/// Serves on the usual port, or on another one if that is taken; the endpoint.
async fn serve(local: &Local) -> Result<String, Failure> {
    let usual = ServerOptions::default();
    if let Ok(handle) = server::serve(local.clone(), usual).await {
        return Ok(handle.endpoint());
    }

    let any = ServerOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        ..ServerOptions::default()
    };
    let handle = server::serve(local.clone(), any)
        .await
        .map_err(|error| Failure::from_error(&error))?;
    Ok(handle.endpoint())
}
