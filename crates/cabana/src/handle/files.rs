//! The byte lanes: content of any size, as it comes.

use cabana_protocol::{
    Code, Error as CodedError,
    file::{ArchiveFormat, Extracted, FilePath, Upload, Written},
};
use futures_util::{Stream, StreamExt};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use worker::{Headers, Method, Request, Response, ResponseBody, wasm_bindgen::JsValue, web_sys};

use super::{Body, Handle, check, decode};
use crate::{Error, Result, wire::ORIGIN};

/// Content on its way from a sandbox. Dropping it ends the download.
#[derive(Debug)]
pub struct Download(Response);

impl Download {
    /// How long it is, where the sandbox has said.
    pub fn length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// Names the version of the file.
    pub fn etag(&self) -> Option<String> {
        self.header("etag")
    }

    /// The pieces as they come. Content that ends too early is an error.
    pub fn into_stream(mut self) -> Result<impl Stream<Item = Result<Vec<u8>>>> {
        let broken = |_| Error::new(Code::Interrupted, "the connection to the sandbox broke");
        Ok(self.0.stream()?.map(move |piece| piece.map_err(broken)))
    }

    /// All of it, at most `limit` bytes. Fails with `payload_too_large` as soon as there are more.
    pub async fn bytes(self, limit: usize) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let mut pieces = std::pin::pin!(self.into_stream()?);
        while let Some(piece) = pieces.next().await {
            content.extend(piece?);
            if content.len() > limit {
                return Err(Error::new(Code::PayloadTooLarge, format!("the content is longer than {limit} bytes")));
            }
        }
        Ok(content)
    }

    /// All of it as text, at most `limit` bytes. Bytes that are no UTF-8 are replaced.
    pub async fn text(self, limit: usize) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes(limit).await?).into_owned())
    }

    /// The content as the answer of a handler, with its type and length. It is handed over, and not copied into the Worker's memory.
    pub fn into_response(self) -> Response {
        let headers = Headers::new();
        for name in ["content-type", "content-length", "content-encoding", "etag", "last-modified"] {
            if let Some(value) = self.header(name) {
                // A header that the runtime has taken once, it takes again.
                let _ = headers.set(name, &value);
            }
        }
        let status = self.0.status_code();
        Response::builder().with_status(status).with_headers(headers).body(self.into_body())
    }

    fn into_body(self) -> ResponseBody {
        self.0.into_parts().1
    }

    fn header(&self, name: &str) -> Option<String> {
        self.0.headers().get(name).ok().flatten()
    }
}

impl From<Download> for Body {
    /// Content that goes on to another place, another sandbox for instance.
    fn from(download: Download) -> Self {
        download.0.into()
    }
}

impl Handle {
    /// Reads a file of any size.
    ///
    /// Fails with `not_found`, `forbidden` (outside the sandbox's roots), `invalid_request` (a directory: see [`Self::archive`]).
    pub async fn read(&self, path: impl Into<FilePath>) -> Result<Download> {
        self.download(path, 0, None).await
    }

    /// Writes a file of any size, which appears whole. Its directory must exist.
    ///
    /// Fails with `not_found`, `forbidden`, `storage_full`, `interrupted` (the content broke off).
    pub async fn write(&self, path: impl Into<FilePath>, body: impl Into<Body>) -> Result<Written> {
        self.upload(path, body, Upload::default()).await
    }

    /// Downloads a file, from this byte on. With an ETag, fails with `precondition_failed` where the file is another one by now.
    pub async fn download(&self, path: impl Into<FilePath>, from: u64, etag: Option<&str>) -> Result<Download> {
        let headers = Headers::new();
        if let Some(etag) = etag {
            headers.set("if-match", etag)?;
        }
        if from > 0 {
            headers.set("range", &format!("bytes={from}-"))?;
        }
        self.fetch_lane(&lane("files", &path.into(), ""), &headers).await
    }

    /// Uploads a file, which appears whole, or a part of one.
    pub async fn upload(&self, path: impl Into<FilePath>, body: impl Into<Body>, how: Upload) -> Result<Written> {
        let mode = how.mode.map(|mode| format!("&mode={mode}")).unwrap_or_default();
        let headers = Headers::new();
        if let Some(range) = how.content_range() {
            headers.set("content-range", &range)?;
        }
        if let Some(etag) = how.if_match {
            headers.set("if-match", &etag)?;
        }
        self.put(&lane("files", &path.into(), &mode), body.into(), &headers).await
    }

    /// Downloads a directory or a file as a tar archive.
    pub async fn archive(&self, path: impl Into<FilePath>, format: ArchiveFormat) -> Result<Download> {
        let format = format!("&format={}", format.as_str());
        self.fetch_lane(&lane("archive", &path.into(), &format), &Headers::new()).await
    }

    /// Extracts a tar archive, plain or compressed, into a directory.
    pub async fn extract(&self, path: impl Into<FilePath>, body: impl Into<Body>) -> Result<Extracted> {
        self.put(&lane("archive", &path.into(), ""), body.into(), &Headers::new()).await
    }

    async fn fetch_lane(&self, url: &str, headers: &Headers) -> Result<Download> {
        let response = self.reach(request(Method::Get, url, None, headers)?).await?;
        Ok(Download(check(response).await?))
    }

    async fn put<R: serde::de::DeserializeOwned>(&self, url: &str, body: Body, headers: &Headers) -> Result<R> {
        Ok(decode(self.reach(request(Method::Put, url, Some(body), headers)?).await?).await?)
    }
}

fn lane(name: &str, path: &FilePath, query: &str) -> String {
    format!("{ORIGIN}/v1/{name}?path={}{query}", percent_encode(path.as_bytes(), NON_ALPHANUMERIC))
}

/// A request to the object with a body that is handed over.
pub(super) fn request(method: Method, url: &str, body: Option<Body>, headers: &Headers) -> Result<Request, CodedError> {
    let make = || {
        let init = web_sys::RequestInit::new();
        init.set_method(method.as_ref());
        init.set_headers(headers.0.as_ref());
        if let Some(body) = body {
            init.set_body(&body.into_js());
        }
        web_sys::Request::new_with_str_and_init(url, &init)
    };
    let request = make().map_err(|error: JsValue| CodedError::internal(worker::Error::from(error).to_string()))?;
    Ok(request.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_any_bytes_fits_into_the_query() {
        for (path, url) in [
            (FilePath::from("a b/\u{e9}&c"), "http://sandbox/v1/files?path=a%20b%2F%C3%A9%26c&mode=0600"),
            (FilePath::from(vec![b'/', 0xff]), "http://sandbox/v1/files?path=%2F%FF&mode=0600"),
        ] {
            assert_eq!(lane("files", &path, "&mode=0600"), url);
        }
    }
}
