//! The certificate that `GET /ca` answers.

/// A certificate whose private key was deleted when it was made. Nothing is intercepted or signed with it, so trusting it is harmless.
pub(super) const PEM: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBtTCCAVugAwIBAgIUWPWf99d47PkGD64Fj9S3/op0PNkwCgYIKoZIzj0EAwIw\n\
MDEuMCwGA1UEAwwlY2FiYW5hLWVuZ2luZTogbm90aGluZyBpcyBpbnRlcmNlcHRl\n\
ZDAeFw0yNjExMjAyMTU0NTNaFw00NjExMTUyMTU0NTNaMDAxLjAsBgNVBAMMJWNh\n\
YmFuYS1lbmdpbmU6IG5vdGhpbmcgaXMgaW50ZXJjZXB0ZWQwWTATBgcqhkjOPQIB\n\
BggqhkjOPQMBBwNCAATecjV8G+Ho+e3ynqTdhEH72wAUFXznwDdn+xuo4VKA/+s6\n\
XA65l0XzE6MaKhpx8jhxE19ZtRQp2JPM8BHCeAJmo1MwUTAdBgNVHQ4EFgQU020b\n\
3neeIGeiX0lKPwg3En964c4wHwYDVR0jBBgwFoAU020b3neeIGeiX0lKPwg3En96\n\
4c4wDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA6agWNolrNdMR\n\
dfs7gBEDR3+Rm6rOSqoHs89zSZpriQcCIGiwBk5GDQ36cGAfuqeULmuuHTnS9vo+\n\
HdoBV3rh3TPv\n\
-----END CERTIFICATE-----\n\
";
