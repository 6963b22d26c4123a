//! The program `bootstrap` of a Lambda function: the loop over the Runtime API.

// The futures of the AWS SDK are nested deeply.
#![recursion_limit = "256"]

use std::process::ExitCode;
use std::sync::Arc;

use distributary_core::clock::{Clock, Millis};
use distributary_core::text::chain;
use distributary_kinesis::config::Connector;
use distributary_lambda::function::Function;
use distributary_lambda::settings::{self, Environment, LOG};
use http::{Method, Request};
use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use lambda_runtime_api_client::PooledClient;
use lambda_runtime_api_client::body::Body;
use serde_json::json;
use serde_json::value::RawValue;
use tracing_subscriber::EnvFilter;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let environment = settings::environment();
    log(&environment);
    if !environment.contains_key("AWS_LAMBDA_RUNTIME_API") {
        let text = "bootstrap is started by AWS Lambda: there is no AWS_LAMBDA_RUNTIME_API. Put this \
                    program into a function's package (docs/guides/lambda.md)";
        tracing::error!("{text}");
        return ExitCode::FAILURE;
    }

    let started = start(&environment);
    let function = match started {
        Ok(function) => Arc::new(function),
        Err(why) => {
            tracing::error!("{why}");
            report(&why).await;
            return ExitCode::FAILURE;
        }
    };
    match serve(function).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the Runtime API failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Logs as the function's settings say: text or JSON, on stdout, which is the log of a function.
fn log(environment: &Environment) {
    let level = environment.get(LOG);
    let level = level.or_else(|| environment.get("AWS_LAMBDA_LOG_LEVEL"));
    let level = level.map_or("info", String::as_str);
    let filter =
        EnvFilter::try_new(level.to_lowercase()).unwrap_or_else(|_| EnvFilter::new("info"));

    let format = environment.get("AWS_LAMBDA_LOG_FORMAT");
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    match format.map(String::as_str) {
        Some("JSON") => builder.json().init(),
        _ => builder.with_ansi(false).without_time().init(),
    }
}

fn start(environment: &Environment) -> Result<Function, String> {
    let clock = Clock::real();
    let connector = Connector::new(clock.clone()).map_err(|error| chain(&error))?;
    let function = settings::load(environment, Arc::new(connector), &clock);
    function.map_err(|error| chain(&error))
}

/// Answers events until the process is ended.
async fn serve(function: Arc<Function>) -> Result<(), lambda_runtime::Error> {
    let handler = service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let function = Arc::clone(&function);
        async move {
            let deadline = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
            let answer = function.handle(event.payload.get(), Millis(deadline)).await;
            answer.map_err(|error| {
                let diagnostic = Diagnostic::from(error);
                tracing::error!("{}", diagnostic.error_message);
                diagnostic
            })
        }
    });
    Runtime::new(handler).run().await
}

/// Reports a failed start, so that the function's test shows the reason.
async fn report(why: &str) {
    let error = json!({ "errorType": "Distributary.Settings", "errorMessage": why });
    let request = Request::builder()
        .method(Method::POST)
        .uri("/2018-06-01/runtime/init/error")
        .header(
            "lambda-runtime-function-error-type",
            "Distributary.Settings",
        )
        .body(Body::from(error.to_string()));
    if let Ok(request) = request {
        // The process ends either way.
        let _ = PooledClient::builder().build().call(request).await;
    }
}
