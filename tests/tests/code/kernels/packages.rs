//! Packages that cells install.

use cabana_tests::Sandbox;
use serde_json::{Value, json};

use super::{create, run};

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

/// A package that a cell installs is imported by the next cell and by contexts that were there before.
pub(crate) async fn check_install(sandbox: &Sandbox) {
    let import = "import tiny_of_cabana\ntiny_of_cabana.ANSWER";
    let install = "%pip install --no-index --no-deps ./tiny_of_cabana-1.0-py3-none-any.whl";
    let other = json!(create(sandbox, json!({ "name": "other" })).await);
    for (code, context, expected) in
        [(MAKE, Value::Null, None), (install, Value::Null, None), (import, Value::Null, Some("42")), (import, other, Some("42"))]
    {
        let output = run(sandbox, json!({ "code": code, "context": context })).await;
        assert_eq!((output.error.as_ref(), output.text.as_deref()), (None, expected), "{output:?}");
    }
}

/// Where a case starts the agent itself, as root, a cell would change the kernels of all cases. What the service's sandboxes share is
/// looked at in `control::packages`.
mod image_only {
    use cabana_tests::in_sandbox;

    use super::check_install;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_package_that_a_cell_installs_is_imported_by_the_next_and_by_other_contexts() {
        in_sandbox(check_install).await;
    }
}
