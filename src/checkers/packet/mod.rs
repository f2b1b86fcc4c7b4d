//! The bytes of protocols that are too small for a library of their own: written and read, without any I/O.
//!
//! Every reader takes any bytes and answers with what they mean or why they mean nothing; none can panic.

pub mod advice;
pub mod grpc;
pub mod icmp;
pub mod ldap;
pub mod mysql;
pub mod redis;
pub mod smtp;
