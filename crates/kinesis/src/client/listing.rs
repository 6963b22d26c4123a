//! The streams of an account in one region.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use distributary_core::clock::Millis;
use distributary_core::output::{Trouble, TroubleKind};
use distributary_wire::types::{
    ListStreamsRequest, ListStreamsResponse, ListTagsForStreamRequest, StreamMode, StreamStatus,
    StreamSummary,
};

use super::streams::created;
use super::{Answered, Client};
use crate::names::StreamRef;
use crate::retry::Retries;

/// Pages that are read at most.
const PAGES_MAX: usize = 1000;
/// Streams a page; AWS takes 1 to 10,000, and sends 100 by default.
const PAGE_STREAMS: i32 = 250;
/// Time between two pages: AWS allows an account five calls a second.
const BETWEEN_PAGES: Duration = Duration::from_millis(250);

/// A stream in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedStream {
    /// The name.
    pub name: String,
    /// The ARN, where the server returns one.
    pub arn: Option<String>,
    /// The creation time, where the server returns one.
    pub created: Option<Millis>,
    /// The status, where the server returns one.
    pub status: Option<StreamStatus>,
    /// The mode, where the server returns one.
    pub mode: Option<StreamMode>,
}

impl ListedStream {
    /// True if the stream is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.status == Some(StreamStatus::Deleting)
    }
}

impl Client {
    /// Every stream of the account in the client's region. Waits between pages, and tries again
    /// where a page is throttled: thousands of streams take seconds.
    ///
    /// # Errors
    /// [`Trouble`]; a list that is cut short is one.
    pub async fn list_streams(&self) -> Result<Vec<ListedStream>, Trouble> {
        let mut streams: Vec<ListedStream> = Vec::new();
        let mut request = ListStreamsRequest {
            limit: Some(PAGE_STREAMS),
            ..Default::default()
        };
        for _ in 0..PAGES_MAX {
            let page = self.patiently(|| self.call(&request)).await?;
            let more = page.has_more_streams;
            let token = page.next_token.clone();
            let listed = streams_of(page);
            let is_empty = listed.is_empty();
            streams.extend(listed);

            if !more {
                return Ok(streams);
            }
            if is_empty {
                break;
            }
            request = next(token, streams.last());
            self.clock().sleep(BETWEEN_PAGES).await;
        }
        let text = "the list of the account's streams has no end";
        Err(Trouble::new(TroubleKind::Unintelligible, text))
    }

    /// The tags of `stream`. Waits before each call, and tries again where a call is throttled: AWS
    /// allows an account five calls a second.
    ///
    /// # Errors
    /// [`Trouble`]; of kind `Missing` if there is no such stream.
    pub async fn tags(&self, stream: &StreamRef) -> Result<BTreeMap<String, String>, Trouble> {
        let mut tags = BTreeMap::new();
        let mut start = None;
        for _ in 0..PAGES_MAX {
            self.clock().sleep(BETWEEN_PAGES).await;
            let request = ListTagsForStreamRequest {
                exclusive_start_tag_key: start,
                ..Default::default()
            };
            let page = self.patiently(|| self.on(stream, request.clone())).await?;

            start = page.tags.last().map(|tag| tag.key.clone());
            let listed = page.tags.into_iter();
            tags.extend(listed.map(|tag| (tag.key, tag.value.unwrap_or_default())));
            if !page.has_more_tags || start.is_none() {
                return Ok(tags);
            }
        }
        let text = format!("the list of the tags of {stream} has no end");
        Err(Trouble::new(TroubleKind::Unintelligible, text))
    }

    /// The answer of `call`, which is made again where it is throttled or fails for a cause that
    /// passes.
    async fn patiently<A, F>(&self, call: impl Fn() -> F) -> Result<A, Trouble>
    where
        F: Future<Output = Result<Answered<A>, Trouble>>,
    {
        let mut retries = Retries::of_read(self.clock());
        loop {
            match call().await {
                Ok(answered) => return Ok(answered.answer),
                Err(trouble) => retries.wait(trouble).await?,
            }
        }
    }
}

/// The request for the page after the stream `last`. Older servers give no token.
fn next(token: Option<String>, last: Option<&ListedStream>) -> ListStreamsRequest {
    let token = token.filter(|token| !token.is_empty());
    let start = match token {
        Some(_) => None,
        None => last.map(|stream| stream.name.clone()),
    };
    ListStreamsRequest {
        limit: Some(PAGE_STREAMS),
        exclusive_start_stream_name: start,
        next_token: token,
    }
}

/// The streams of a page. Older servers list names only.
fn streams_of(page: ListStreamsResponse) -> Vec<ListedStream> {
    let summaries = page.stream_summaries.unwrap_or_default();
    if !summaries.is_empty() {
        return summaries.into_iter().map(of_summary).collect();
    }

    let of_name = |name| ListedStream {
        name,
        arn: None,
        created: None,
        status: None,
        mode: None,
    };
    page.stream_names.into_iter().map(of_name).collect()
}

fn of_summary(summary: StreamSummary) -> ListedStream {
    let arn = summary.stream_arn;
    ListedStream {
        name: summary.stream_name,
        arn: (!arn.is_empty()).then_some(arn),
        created: summary.stream_creation_timestamp.and_then(created),
        status: Some(summary.stream_status),
        mode: summary
            .stream_mode_details
            .and_then(|details| details.stream_mode),
    }
}
