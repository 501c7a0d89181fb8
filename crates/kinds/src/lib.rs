//! What Kubernetes kinds look like.
