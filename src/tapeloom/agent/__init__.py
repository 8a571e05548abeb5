"""The client side: reading trees and commands into data sequences, and restoring them."""
