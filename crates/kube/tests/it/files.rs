//! Kubeconfig files.

use std::os::unix::fs::PermissionsExt as _;

use landfall_kube::kubeconfig::{Entry, User, write};

fn entry(cluster: &str) -> Entry {
    Entry {
        context: format!("landfall-{cluster}"),
        endpoint: format!("https://{cluster}.example.com"),
        ca_pem: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
        user: User::Exec {
            command: "landfall".to_owned(),
            arguments: ["token", "--cluster", cluster, "--region", "eu-west-1"]
                .map(str::to_owned)
                .to_vec(),
            variables: vec![("AWS_PROFILE".to_owned(), "work".to_owned())],
        },
    }
}

const OLD: &str = r#"# Mine.
apiVersion: v1
kind: Config
preferences: { colors: true }
current-context: home
clusters:
  - name: home
    cluster: { server: "https://home.example.com", insecure-skip-tls-verify: true }
  - name: landfall-town
    cluster: { server: "https://old.example.com" }
contexts:
  - name: home
    context: { cluster: home, user: me, extensions: [{ name: tool, extension: { version: "1.0", "yes": "no" } }] }
  - name: landfall-town
    context: { cluster: landfall-town, user: somebody, namespace: shop }
users:
  - name: me
    user: { username: "012", password: "on", token: "1e3" }
something-else: { kept: ["null", null, "~", ""] }
"#;

#[test]
fn a_cluster_is_added_and_everything_else_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    std::fs::write(&path, OLD).unwrap();
    write(&path, &entry("town"), false).unwrap();
    let once = std::fs::read_to_string(&path).unwrap();
    write(&path, &entry("town"), false).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), once);
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    insta::assert_snapshot!(once);
}

#[test]
fn a_file_is_begun_and_its_context_made_current_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kube").join("config");
    write(&path, &entry("town"), true).unwrap();
    write(&path, &entry("village"), false).unwrap();
    insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap());
    let strange = folder.path().join("strange");
    std::fs::write(&strange, "clusters: 7").unwrap();
    insta::assert_snapshot!(write(&strange, &entry("town"), true).unwrap_err().to_string().replace(&folder.path().display().to_string(), ""), @"/strange is not a kubeconfig file: `clusters` is not a list");
    assert_eq!(std::fs::read_to_string(&strange).unwrap(), "clusters: 7");
}

#[test]
fn a_link_to_the_file_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    std::fs::write(&real, OLD).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    write(&link, &entry("village"), false).unwrap();
    assert!(link.is_symlink());
    assert!(
        std::fs::read_to_string(&real)
            .unwrap()
            .contains("landfall-village")
    );
}
