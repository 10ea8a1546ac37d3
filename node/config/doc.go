// Package config reads and checks the configuration of a node: a TOML file, or
// nothing at all, which is a durable one-node cluster on loopback.
//
// Load returns a configuration that is complete (every default filled in, every
// path usable from any working directory) and checked, or Errors: everything
// that is wrong, each with its line, so that one look at `holdfast check` is
// enough. config.example.toml in the project's root documents every key.
package config
