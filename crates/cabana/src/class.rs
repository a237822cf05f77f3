//! Durable Object classes for kinds that want one of their own.

/// Makes a Durable Object class of this name, which does all that [`Sandbox`](crate::Sandbox) does.
///
/// A kind with a class of its own has containers, limits and a scheduling of its own on the platform. The class needs a binding, a
/// container and a migration in wrangler.jsonc, and the kind its binding in [`Kinds`](crate::Kinds); `cargo xtask sync` writes them all. The Worker depends on `worker` and
/// `wasm-bindgen`, which the macro's expansion names.
///
/// ```
/// cabana::sandbox_class!(PythonSandbox);
/// # fn main() {}
/// ```
///
/// `hooks` names a type with [`Hooks`](crate::Hooks): variables of all its sandboxes, and what is done when they start and stop.
///
/// ```
/// struct Watched;
/// impl cabana::Hooks for Watched {}
/// cabana::sandbox_class!(WatchedSandbox, hooks: Watched);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! sandbox_class {
    ($name:ident) => {
        $crate::sandbox_class!(@class $name, <$crate::Sandbox as ::worker::DurableObject>::new);
    };
    ($name:ident, hooks: $hooks:ty) => {
        $crate::sandbox_class!(@class $name, $crate::Sandbox::with_hooks::<$hooks>);
    };
    (@class $name:ident, $new:expr) => {
        #[doc = "The sandboxes of a kind with a class of its own, see [`cabana::Sandbox`]."]
        #[::worker::durable_object]
        #[allow(missing_debug_implementations, missing_docs)]
        pub struct $name($crate::Sandbox);

        impl ::worker::DurableObject for $name {
            fn new(state: ::worker::State, env: ::worker::Env) -> Self {
                Self($new(state, env))
            }

            async fn fetch(&self, request: ::worker::Request) -> ::worker::Result<::worker::Response> {
                ::worker::DurableObject::fetch(&self.0, request).await
            }

            async fn alarm(&self) -> ::worker::Result<::worker::Response> {
                ::worker::DurableObject::alarm(&self.0).await
            }

            async fn websocket_message(
                &self,
                socket: ::worker::WebSocket,
                message: ::worker::WebSocketIncomingMessage,
            ) -> ::worker::Result<()> {
                ::worker::DurableObject::websocket_message(&self.0, socket, message).await
            }

            async fn websocket_close(
                &self,
                socket: ::worker::WebSocket,
                code: usize,
                reason: String,
                was_clean: bool,
            ) -> ::worker::Result<()> {
                ::worker::DurableObject::websocket_close(&self.0, socket, code, reason, was_clean).await
            }

            async fn websocket_error(&self, socket: ::worker::WebSocket, error: ::worker::Error) -> ::worker::Result<()> {
                ::worker::DurableObject::websocket_error(&self.0, socket, error).await
            }
        }
    };
}
