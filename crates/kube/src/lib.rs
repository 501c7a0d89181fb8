//! Kubernetes objects, as a provider.
