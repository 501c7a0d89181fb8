//! Third-party AWS emulators, each test its own, ended when dropped.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running emulator.
#[derive(Debug)]
pub struct Emulator {
    child: Child,
    /// Where it answers, such as `http://127.0.0.1:4601`.
    pub url: String,
    /// Which one it is.
    pub name: &'static str,
    /// A Python with `boto3`, to ask it in a voice that is not ours.
    pub python: std::path::PathBuf,
    folder: tempfile::TempDir,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Emulator {
    /// Starts ministack.
    pub fn ministack(tools: &Path) -> Emulator {
        let program = tools.join("ministack/bin/ministack");
        start(
            "ministack",
            tools,
            &program,
            "/_ministack/health",
            |command, port| {
                command
                    .env("BIND_HOST", "127.0.0.1")
                    .env("GATEWAY_PORT", port.to_string());
            },
        )
    }

    /// Starts ministack with stand-ins for the types that it refuses in templates: the rows of
    /// `tools/emulator/stand_ins.json`.
    ///
    /// Requests without credentials, as users of an API send them, are for things of `account`.
    pub fn ministack_with_stand_ins(tools: &Path, account: &str) -> Emulator {
        let program = tools.join("ministack/bin/python");
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/emulator");
        start(
            "ministack",
            tools,
            &program,
            "/_ministack/health",
            |command, port| {
                command
                    .arg(ours.join("stand_ins.py"))
                    .env("MINISTACK_ACCOUNT_ID", account)
                    .env("BIND_HOST", "127.0.0.1")
                    .env("GATEWAY_PORT", port.to_string())
                    // Functions for Node find what AWS Lambda brings along, and Cognito at the emulator.
                    .env("NODE_PATH", tools.join("functions/node_modules"))
                    .env(
                        "NODE_OPTIONS",
                        format!("--require {}", ours.join("at_the_emulator.cjs").display()),
                    )
                    .env("LANDFALL_EMULATOR", format!("http://127.0.0.1:{port}"));
            },
        )
    }

    /// Starts moto.
    pub fn moto(tools: &Path) -> Emulator {
        let program = tools.join("moto/bin/moto_server");
        start("moto", tools, &program, "/moto-api/", |command, port| {
            command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        })
    }

    /// Asks the emulator through `boto3` and returns what the script printed. In the script,
    /// `client(service)` makes a client and `account` is the account's id.
    pub fn ask(&self, account: &str, script: &str) -> String {
        let preamble = format!(
            "import boto3, json\naccount = '{account}'\n\
             def client(service, region='us-east-1'):\n\
             \x20   return boto3.client(service, region_name=region, endpoint_url='{}',\n\
             \x20       aws_access_key_id='{account}', aws_secret_access_key='test', aws_session_token='test')\n",
            self.url
        );
        let output = Command::new(&self.python)
            .arg("-c")
            .arg(preamble + script)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "asking {} failed:\n{}",
            self.name,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A file that something running in the emulator has written.
    pub fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join(name)).ok()
    }

    /// The environment that points AWS tools at an address, with temporary credentials of an account.
    pub fn environment(url: &str, account: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", url.to_owned()),
            ("AWS_ACCESS_KEY_ID", account.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_SESSION_TOKEN", "test".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", "/nonexistent/config".to_owned()),
            (
                "AWS_SHARED_CREDENTIALS_FILE",
                "/nonexistent/credentials".to_owned(),
            ),
            ("NO_COLOR", "1".to_owned()),
        ]
    }
}

/// A port that was free a moment ago can be taken by another test's emulator: then another is tried.
const TRIES: usize = 3;

fn start(
    name: &'static str,
    tools: &Path,
    program: &Path,
    health: &str,
    settings: impl Fn(&mut Command, u16),
) -> Emulator {
    for _ in 0..TRIES {
        let port = free_port();
        // Emulators keep files where they are started: each in a folder of its own.
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log.txt")).unwrap();
        let mut command = Command::new(program);
        settings(&mut command, port);
        let child = command
            .current_dir(folder.path())
            .env("TMPDIR", folder.path())
            .env("STATE_DIR", folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("could not start {name}: {error}"));
        let url = format!("http://127.0.0.1:{port}");
        let python = tools.join(name).join("bin/python");
        let mut emulator = Emulator {
            child,
            url,
            name,
            python,
            folder,
        };
        if emulator.is_ready(port, health) {
            return emulator;
        }
    }
    panic!("{name} did not start, {TRIES} times");
}

impl Emulator {
    /// Waits until it answers; false when it ended instead.
    fn is_ready(&mut self, port: u16, health: &str) -> bool {
        let began = Instant::now();
        while !answers(port, health) {
            if self.child.try_wait().unwrap().is_some() {
                let log = std::fs::read_to_string(self.folder.path().join("log.txt")).unwrap_or_default();
                eprintln!("{} ended before it was ready:\n{log}", self.name);
                return false;
            }
            assert!(
                began.elapsed() < Duration::from_secs(90),
                "{} was not ready within 90 s",
                self.name
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        // Another emulator may answer at this port: ours would have ended by now, unable to take it.
        std::thread::sleep(Duration::from_millis(100));
        self.child.try_wait().unwrap().is_none()
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn answers(port: u16, path: &str) -> bool {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    let mut answer = [0; 15];
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read(&mut answer).is_ok()
        && String::from_utf8_lossy(&answer).contains(" 200")
}
