//! The deployable gateway: routes and authentication over the cabana library.
