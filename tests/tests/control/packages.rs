//! Packages that cells install, where sandboxes share kernels that they cannot write to.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::lifecycle::Named;

/// A wheel is an archive of files by PEP 427, so no index is needed.
const MAKE: &str = r#"
import zipfile
with zipfile.ZipFile("tiny_of_cabana-1.0-py3-none-any.whl", "w") as wheel:
    about = "tiny_of_cabana-1.0.dist-info/"
    wheel.writestr("tiny_of_cabana.py", "ANSWER = 42\n")
    wheel.writestr(about + "METADATA", "Metadata-Version: 2.1\nName: tiny-of-cabana\nVersion: 1.0\n")
    wheel.writestr(about + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(about + "RECORD", "tiny_of_cabana.py,,\n")
"#;

#[tokio::test]
async fn a_package_that_a_cell_installs_is_imported_by_the_next_and_by_other_contexts() {
    let sandbox = Named::new("packages", json!({})).await;
    let import = "import tiny_of_cabana\ntiny_of_cabana.ANSWER";
    let install = "%pip install --no-index --no-deps ./tiny_of_cabana-1.0-py3-none-any.whl";
    let (status, other) = sandbox.call(Method::POST, "/code/create", Some(json!({ "name": "other" }))).await;
    assert_eq!(status, StatusCode::OK, "{other}");
    for (code, context, expected) in [
        (MAKE, None, json!(null)),
        (install, None, json!(null)),
        (import, None, json!("42")),
        (import, Some(&other["context"]), json!("42")),
    ] {
        let (status, output) = sandbox.call(Method::POST, "/code/run", Some(json!({ "code": code, "context": context }))).await;
        assert_eq!((status, &output["status"], &output["text"]), (StatusCode::OK, &json!("ok"), &expected), "{output}");
    }
    sandbox.end().await;
}
