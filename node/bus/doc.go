// Package bus attaches this process to the NATS server that it embeds.
package bus
