//! The keys with which outputs of AWS services connect.

use distributary_kinesis::config::ConnectOptions;

use crate::keys::{Absent, Form, Key};

/// The key `region`.
pub(crate) const REGION: Key = Key {
    name: "region",
    form: Form::Text("REGION"),
    absent: Absent::Inherited("that of the ARN, else as the AWS tools find it"),
    help: "AWS region of a stream that is given by name",
    example: "eu-central-1",
};

/// The key `profile`.
pub(crate) const PROFILE: Key = Key {
    name: "profile",
    form: Form::Text("PROFILE"),
    absent: Absent::Inherited("as the AWS tools find it"),
    help: "AWS profile",
    example: "production",
};

/// The key `endpoint-url`.
pub(crate) const ENDPOINT_URL: Key = Key {
    name: "endpoint-url",
    form: Form::Text("URL"),
    absent: Absent::Inherited("AWS, or AWS_ENDPOINT_URL"),
    help: "Kinesis endpoint, such as http://127.0.0.1:4567",
    example: "http://127.0.0.1:4567",
};

/// The key `role-arn`.
pub(crate) const ROLE_ARN: Key = Key {
    name: "role-arn",
    form: Form::Text("ARN"),
    absent: Absent::Default(""),
    help: "Role to assume; the session is renewed automatically",
    example: "arn:aws:iam::123456789012:role/writer",
};

/// The key `external-id`.
pub(crate) const EXTERNAL_ID: Key = Key {
    name: "external-id",
    form: Form::Text("ID"),
    absent: Absent::Default(""),
    help: "External id that the role's trust policy demands",
    example: "distributary",
};

/// The key `region` of a service that is no stream.
pub(crate) const SERVICE_REGION: Key = Key {
    help: "AWS region",
    absent: Absent::Inherited("that of the ARN or address, else as the AWS tools find it"),
    ..REGION
};

/// The key `endpoint-url` of a service that is no stream: never the address of the Kinesis server.
pub(crate) const SERVICE_ENDPOINT: Key = Key {
    name: "endpoint-url",
    form: Form::Text("URL"),
    absent: Absent::Default(
        "AWS, or AWS_ENDPOINT_URL with the service's name, or AWS_ENDPOINT_URL",
    ),
    help: "Endpoint of the service; that of the fan-out is for Kinesis and does not count here",
    example: "http://127.0.0.1:5000",
};

/// The connection of settings with the five keys as fields, with a region that an ARN gives.
macro_rules! connection {
    ($settings:expr, $own_region:expr) => {
        distributary_kinesis::config::ConnectOptions {
            region: $own_region.or_else(|| $settings.region.clone()),
            profile: $settings.profile.clone(),
            endpoint_url: $settings.endpoint_url.clone(),
            role_arn: $settings.role_arn.clone(),
            external_id: $settings.external_id.clone(),
            no_credentials: false,
        }
    };
}

pub(crate) use connection;

/// Everything that is wrong with a role and its external id.
pub(crate) fn role_problems(connection: &ConnectOptions) -> Vec<String> {
    let mut problems = Vec::new();
    if connection.external_id.is_some() && connection.role_arn.is_none() {
        problems.push("external-id is only of use with role-arn; give both or none".to_owned());
    }

    let is_role = |role: &&String| role.starts_with("arn:") && role.contains(":role/");
    if let Some(role) = connection.role_arn.as_ref().filter(|role| !is_role(role)) {
        problems.push(format!(
            "role-arn {role:?} is no role: expected one such as \
             arn:aws:iam::123456789012:role/writer"
        ));
    }
    problems
}

/// The region in an ARN of the service `service`; `None` for other texts.
pub(crate) fn region_of_arn(text: &str, service: &str) -> Option<String> {
    let mut parts = text.split(':');
    let is_of_service = parts.next() == Some("arn") && parts.nth(1) == Some(service);
    let region = parts.next().filter(|region| !region.is_empty());
    region.filter(|_| is_of_service).map(str::to_owned)
}
