# A record that Terraform keeps by itself. With it, the first run proves the role, the state and the lock
# before there is anything to break. Put the layer's real content in its place.
resource "terraform_data" "layer" {
  input = "services"
}

output "layer" {
  description = "The name of this layer."
  value       = terraform_data.layer.output
}
