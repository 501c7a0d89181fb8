//! The command line. What is written here is the help that people read.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// From a bare AWS account to a working internal developer platform, and back.
#[derive(Debug, Parser)]
#[command(
    name = "landfall",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How many steps run at once when nobody says.
pub(crate) const AT_ONCE: u16 = 10;

/// Flags that every command about a platform has.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// The platform file.
    #[arg(
        long,
        short = 'p',
        default_value = "platform.yaml",
        env = "LANDFALL_PLATFORM",
        value_name = "FILE"
    )]
    pub(crate) platform: PathBuf,
    /// Print JSON for programs instead of text for people.
    #[arg(long)]
    pub(crate) json: bool,
    /// Reach clusters by the contexts of this kubeconfig that are called like them, instead of through EKS.
    #[arg(long, env = "LANDFALL_KUBECONFIG", value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a platform file to start from.
    Init(Init),
    /// Show what `apply` would do, why, and what would go wrong. Changes nothing.
    Plan(Plan),
    /// Bring the platform to what its file says; or carry out a saved plan, exactly.
    Apply(Apply),
    /// Run the platform's checks, as its users would notice.
    Verify(Verify),
    /// Show what is running.
    Status(Status),
    /// Remove everything the platform owns, after a rehearsal.
    Destroy(Destroy),
    /// Write every template and file out as it would be used.
    Render(Render),
    /// Draw the graph of steps.
    Graph(Graph),
    /// Print the smallest IAM policy that carrying the platform out needs.
    Policy(Policy),
    /// Open what a component shows people: its page, through the cluster's API where it is not exposed.
    Open(Open),
    /// Let kubectl reach the platform's clusters: adds an entry to a kubeconfig.
    Kubeconfig(Kubeconfig),
    /// Print a token for a cluster's API, as kubectl asks for one. The entry made by `kubeconfig` calls this.
    Token(Token),
    /// Print the JSON Schema of a file format, for editors.
    Schema(Schema),
    /// Try everything here, now, in a simulated cloud.
    Up(Up),
    /// Print a completion script for a shell.
    Completions(Completions),
}

#[derive(Args, Debug)]
pub(crate) struct Init {
    /// The blueprint to start from; without one, they are listed.
    pub(crate) blueprint: Option<String>,
    /// The folder to write to.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub(crate) to: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Save the plan, so that `apply FILE` carries out just this.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Plan as for an empty account. Nobody is asked, so no credentials are needed, and what only the
    /// account could tell is not looked at.
    #[arg(long, conflicts_with_all = ["out", "detailed_exitcode"])]
    pub(crate) empty: bool,
    /// Exit with 3 when the plan has changes.
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) common: Common,
    /// A plan saved by `plan --out`. It is refused when the world has moved since.
    pub(crate) plan: Option<PathBuf>,
    /// Do not ask.
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// Go on although something was found that would fail. What was found is shown all the same.
    #[arg(long)]
    pub(crate) despite_findings: bool,
    /// How many steps may run at once.
    #[arg(long, default_value_t = AT_ONCE, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) parallel: u16,
}

#[derive(Args, Debug)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Make the inventory anew first, from what the account holds with this platform's tags.
    #[arg(long)]
    pub(crate) rebuild: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Destroy {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Do not ask for the platform's name.
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// Show what would be removed, and stop there.
    #[arg(long)]
    pub(crate) rehearse: bool,
    /// Remove what is retained on purpose, too.
    #[arg(long)]
    pub(crate) include_retained: bool,
    /// How many steps may run at once.
    #[arg(long, default_value_t = AT_ONCE, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) parallel: u16,
}

#[derive(Args, Debug)]
pub(crate) struct Render {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The folder to write to.
    #[arg(long, default_value = "rendered", value_name = "FOLDER")]
    pub(crate) to: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Graph {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The format to write.
    #[arg(long, value_enum, default_value_t = GraphFormat::Svg)]
    pub(crate) format: GraphFormat,
    /// The file to write; standard output without it.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum GraphFormat {
    /// A picture.
    Svg,
    /// Graphviz.
    Dot,
    /// For Markdown viewers.
    Mermaid,
}

#[derive(Args, Debug)]
pub(crate) struct Policy {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Write `policy-1.json`, `policy-2.json` and so on to this folder. IAM takes 6,144 characters in each.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Allow what a teardown does beyond removing what was made: searching for leftovers, and sweeping them.
    #[arg(long)]
    pub(crate) destroy: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Open {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The component, by its name in the platform file; without one, those that can be opened are listed.
    pub(crate) component: Option<String>,
    /// The port on this machine; one that is free without it.
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Do not start a browser.
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// Do not show what to sign in with.
    #[arg(long)]
    pub(crate) no_credentials: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Kubeconfig {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The cluster's name; all clusters of the platform without it.
    pub(crate) cluster: Option<String>,
    /// The kubeconfig to write to; the first of KUBECONFIG, or `~/.kube/config`, without it.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// Make it the current context.
    #[arg(long)]
    pub(crate) set_current: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Token {
    /// The EKS cluster's name.
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: String,
    /// Its region.
    #[arg(long, value_name = "REGION", env = "AWS_REGION")]
    pub(crate) region: String,
    /// The account it is in; credentials of any other are refused.
    #[arg(long, value_name = "ID")]
    pub(crate) account: String,
}

#[derive(Args, Debug)]
pub(crate) struct Schema {
    /// The file format.
    #[arg(value_enum)]
    pub(crate) of: SchemaOf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SchemaOf {
    /// `platform.yaml`
    Platform,
    /// `component.yaml`
    Component,
}

#[derive(Args, Debug)]
pub(crate) struct Up {
    /// What to play: a blueprint by its name; or `cluster`, a small network, a cluster and controllers, with
    /// everything that makes a teardown hard. The platform file in `--folder`, when there is one, comes first.
    #[arg(default_value = "portal-on-eks", value_name = "BLUEPRINT")]
    pub(crate) play: String,
    /// How many times faster than life the simulated cloud runs.
    #[arg(long, default_value_t = 60.0, value_name = "N")]
    pub(crate) speed: f64,
    /// What makes this simulation differ from others.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
    /// Keep the files in this folder; without it they go into one that is removed afterwards.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// Stay before taking everything back, until Enter or Ctrl-C, for a look around with kubectl.
    #[arg(long)]
    pub(crate) stay: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}
