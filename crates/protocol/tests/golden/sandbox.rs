//! The operations on sessions, ports and the sandbox as a machine, filled.

use cabana_protocol::{file::Done, *};

use super::{Example, StreamExample, process_id};

impl Example for session::Create {
    fn request() -> Self {
        Self {
            name: Some("build".into()),
            cwd: Some("src".into()),
            env: [("CI".into(), Some("1".into())), ("LANG".into(), None)].into(),
            user: Some("sandbox".into()),
            shell: Some(session::Shell::Bash),
            timeout_ms: Some(60_000),
        }
    }
    fn response() -> session::Session {
        let created_at = "2026-11-20T12:00:00Z".into();
        session::Session {
            session: "k3x9ab-s1".into(),
            name: Some("build".into()),
            timeout_ms: Some(60_000),
            shell: session::Shell::Bash,
            pid: 43,
            created_at,
        }
    }
}

impl Example for session::List {
    fn request() -> Self {
        Self {}
    }
    fn response() -> session::Sessions {
        session::Sessions { sessions: vec![session::Create::response()] }
    }
}

impl Example for session::Get {
    fn request() -> Self {
        Self { session: "k3x9ab-s1".into() }
    }
    fn response() -> session::Session {
        session::Create::response()
    }
}

impl Example for session::Update {
    fn request() -> Self {
        let env = [("CI".into(), Some("1".into())), ("LANG".into(), None)].into();
        Self { session: "build".into(), cwd: Some("src".into()), env }
    }
    fn response() -> session::Session {
        session::Create::response()
    }
}

impl Example for session::Delete {
    fn request() -> Self {
        Self { session: "k3x9ab-s1".into() }
    }
    fn response() -> Done {
        Done {}
    }
}

impl Example for port::List {
    fn request() -> Self {
        Self {}
    }
    fn response() -> port::Ports {
        let (program, process) = (Some("python3".into()), Some(process_id()));
        let protocol = port::Protocol::Tcp4;
        port::Ports {
            ports: vec![port::Port { port: 3_000, address: "0.0.0.0".into(), protocol, pid: Some(42), program, process }],
        }
    }
}

impl Example for port::Connect {
    fn request() -> Self {
        Self { port: Some(5_432), host: Some("db.internal".into()), path: None, window_bytes: Some(1 << 20) }
    }
    fn response() -> port::ConnectionEnd {
        port::ConnectionEnd { reason: port::CloseReason::Closed, sent_bytes: 5, received_bytes: 4 }
    }
}

impl StreamExample for port::Connect {
    fn events() -> Vec<port::ConnectEvent> {
        vec![
            port::ConnectEvent::Connected {},
            port::ConnectEvent::Ack { offset: 5 },
            port::ConnectEvent::Data { offset: 0, bytes: vec![0xff, 0, 0x0d, 0x0a].into() },
            port::ConnectEvent::Eof {},
        ]
    }
    fn inputs() -> Vec<port::ConnectInput> {
        let bytes = Data::from("PING\n");
        vec![port::ConnectInput::Data { bytes }, port::ConnectInput::Ack { offset: 4 }, port::ConnectInput::Eof]
    }
}

impl Example for system::Stats {
    fn request() -> Self {
        Self {}
    }
    fn response() -> system::Usage {
        system::Usage {
            cpu: system::Cpu { used_ms: 1_230, count: 0.5 },
            memory: system::Space { used_bytes: 64 << 20, total_bytes: 1 << 30 },
            disk: system::Space { used_bytes: 1 << 30, total_bytes: 4 << 30 },
            processes: 7,
            uptime_ms: 60_000,
        }
    }
}

impl Example for system::Info {
    fn request() -> Self {
        Self {}
    }
    fn response() -> system::System {
        system::System {
            version: "0.1.0".into(),
            kernel: "6.12.0".into(),
            architecture: "x86_64".into(),
            hostname: "sandbox".into(),
            distribution: Some("Debian GNU/Linux 13 (trixie)".into()),
            user: "root".into(),
            shell: "/bin/bash".into(),
            root: "/workspace".into(),
            confinement: Some(system::Confinement::Openat2),
            programs: [("python3".into(), "/usr/bin/python3".into())].into(),
        }
    }
}
