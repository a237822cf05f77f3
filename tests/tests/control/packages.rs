//! Packages that cells install, where sandboxes share kernels that they cannot write to.

use cabana_tests::in_sandbox;

use crate::code::kernels::packages::check_install;

#[tokio::test]
async fn a_package_that_a_cell_installs_is_imported_by_the_next_and_by_other_contexts() {
    in_sandbox(check_install).await;
}
