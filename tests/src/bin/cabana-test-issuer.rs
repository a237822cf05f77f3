//! Makes an issuer of JWTs for one run of the cases against a whole service, and prints as JSON the `issuer` for the cases
//! (`CABANA_TEST_ISSUER` names its file) and the `variables` by which the Worker trusts it.

use cabana_tests::Issuer;
use serde_json::json;

fn main() {
    let issuer = Issuer::generate();
    let variables = json!({
        "CABANA_JWT_SECRET": issuer.secret,
        "CABANA_JWT_JWKS_URL": issuer.jwks_url(),
        "CABANA_JWT_ISSUER": Issuer::NAME,
        "CABANA_JWT_AUDIENCE": Issuer::AUDIENCE,
    });
    println!("{}", json!({ "issuer": issuer, "variables": variables }));
}
