//! A Docker-free container engine for wrangler dev on Linux.
