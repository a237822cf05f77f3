//! The byte lanes: content of any size, as it comes.

use bytes::Bytes;
use cabana_protocol::file::{ArchiveFormat, Extracted, FilePath, Upload, Written};
use futures_util::{Stream, stream};
use http::{Method, Response, header};
use hyper::body::{Body as _, Incoming};

use crate::{Body, Error, Result, Sandbox, request, request::Request};

/// Content on its way from a sandbox.
#[derive(Debug)]
pub struct Download {
    body: Incoming,
    etag: Option<String>,
    left: Option<u64>,
}

impl Download {
    fn new(response: Response<Incoming>) -> Self {
        let etag = response.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let body = response.into_body();
        Self { etag, left: body.size_hint().exact(), body }
    }

    /// How much of it is still to come, where the service has said.
    pub fn left(&self) -> Option<u64> {
        self.left
    }

    /// Names the version of the file.
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// The next piece; `None` at the end. Content that ends too early is an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let piece = request::next_piece(&mut self.body).await?;
        if let (Some(piece), Some(left)) = (&piece, &mut self.left) {
            *left = left.saturating_sub(piece.len() as u64);
        }
        Ok(piece)
    }

    /// The pieces as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send {
        stream::try_unfold(self, async |mut download| Ok(download.next().await?.map(|piece| (piece, download))))
    }

    /// All of it, at most `limit` bytes.
    pub async fn read(mut self, limit: usize) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        while let Some(piece) = self.next().await? {
            if content.len() + piece.len() > limit {
                return Err(Error::Invalid(format!("the content is longer than {limit} bytes")));
            }
            content.extend_from_slice(&piece);
        }
        Ok(content)
    }
}

impl Sandbox {
    /// Downloads a file, from this byte on. With an ETag, fails with `precondition_failed` where the file is another one by now.
    pub async fn download(&self, path: &FilePath, from: u64, etag: Option<&str>) -> Result<Download> {
        let mut request = self.lane(Method::GET, "/files", path);
        if let Some(etag) = etag {
            request = request.with_header(header::IF_MATCH, etag);
        }
        if from > 0 {
            request = request.with_header(header::RANGE, format!("bytes={from}-"));
        }
        Ok(Download::new(self.client().open(request).await?))
    }

    /// Uploads a file, which appears whole, or a part of one.
    pub async fn upload(&self, path: &FilePath, body: impl Into<Body>, how: Upload) -> Result<Written> {
        let mut request = self.lane(Method::PUT, "/files", path).with_stream(body.into());
        if let Some(mode) = how.mode {
            request = request.with_query("mode", mode.to_string());
        }
        if let Some(range) = how.content_range() {
            request = request.with_header(header::CONTENT_RANGE, range);
        }
        if let Some(etag) = how.if_match {
            request = request.with_header(header::IF_MATCH, etag);
        }
        self.client().json(request).await
    }

    /// Downloads a directory or a file as a tar archive.
    pub async fn archive(&self, path: &FilePath, format: ArchiveFormat) -> Result<Download> {
        let request = self.lane(Method::GET, "/archive", path).with_query("format", format.as_str());
        Ok(Download::new(self.client().open(request).await?))
    }

    /// Extracts a tar archive, plain or compressed, into a directory.
    pub async fn extract(&self, path: &FilePath, body: impl Into<Body>) -> Result<Extracted> {
        self.client().json(self.lane(Method::PUT, "/archive", path).with_stream(body.into())).await
    }

    fn lane(&self, method: Method, route: &str, path: &FilePath) -> Request {
        self.request(method, route).with_query("path", path.as_bytes())
    }
}
