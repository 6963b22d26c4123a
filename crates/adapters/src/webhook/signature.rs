//! Signatures of Standard Webhooks (<https://www.standardwebhooks.com>, specification 1.0).

use std::fmt;

use ring::hmac;

/// The secret that requests are signed with.
#[derive(Clone)]
pub(crate) struct Secret(hmac::Key);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Reads `whsec_` and base64; the prefix may be left out.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        /// Bytes of a secret, by the specification.
        const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

        let base64 = text.strip_prefix("whsec_").unwrap_or(text);
        let key = base64_simd::STANDARD.decode_to_vec(base64);
        match key {
            Ok(key) if LENGTHS.contains(&key.len()) => {
                Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
            }
            Ok(key) => Err(format!(
                "the secret has {} bytes; expected 24 to 64",
                key.len()
            )),
            Err(_) => Err("the secret is not whsec_ and base64".to_owned()),
        }
    }

    /// The value of `webhook-signature`; `timestamp` is in seconds since 1970.
    pub(crate) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        let signature = base64_simd::STANDARD.encode_to_string(context.sign().as_ref());
        format!("v1,{signature}")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    /// The example of the specification's libraries.
    #[test]
    fn the_example_of_the_specification_is_signed_alike() {
        let secret = Secret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn other_texts_are_no_secrets() {
        assert!(Secret::read("whsec_*").unwrap_err().contains("not whsec_"));
        assert!(Secret::read("YQ==").unwrap_err().contains("1 bytes"));
    }
}
