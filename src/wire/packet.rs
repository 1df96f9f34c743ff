//! A packet socket for whole frames of one interface (packet(7)).
//!
//! This is the only module with unsafe code: rustix has no address type for packet sockets, so it is declared here.
#![allow(unsafe_code, reason = "the address of a packet socket, which rustix does not have")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// `struct sockaddr_ll`.
#[repr(C)]
struct LinkAddress {
    family: u16,
    /// An EtherType, in network order.
    protocol: [u8; 2],
    index: u32,
    hardware: u16,
    kind: u8,
    length: u8,
    address: [u8; 8],
}

// SAFETY: the pointer refers to `self`, which outlives the call and has the stated size. Its layout is that of the
// kernel's structure (20 octets without padding), and all of it is initialised. The kernel only reads it.
unsafe impl SocketAddrArg for LinkAddress {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        f(std::ptr::from_ref(self).cast(), size_of::<Self>() as SocketAddrLen)
    }
}

/// Sends and receives frames of one EtherType on one interface.
pub(super) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens a socket on the interface of this index, in the calling thread's namespace.
    pub(super) fn bind(index: u32, ether_type: u16) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Without a protocol, the socket receives nothing until it is bound. With one, it would receive frames of all
        // interfaces until then.
        let socket = rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
        let address = LinkAddress {
            family: AddressFamily::PACKET.as_raw(),
            protocol: ether_type.to_be_bytes(),
            index,
            hardware: 0,
            kind: 0,
            length: 0,
            address: [0; 8],
        };
        rustix::net::bind(&socket, &address)?;
        Ok(Self(socket))
    }

    /// Sends a whole frame.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        rustix::net::send(&self.0, frame, SendFlags::empty())?;
        Ok(())
    }

    /// Receives a frame, truncated to the size of the buffer; `None` if no frame is waiting.
    pub(super) fn receive<'buffer>(&self, buffer: &'buffer mut [u8]) -> io::Result<Option<&'buffer [u8]>> {
        match rustix::net::recv(&self.0, &mut *buffer, RecvFlags::empty()) {
            Ok((length, _)) => Ok(buffer.get(..length)),
            Err(error) if error == rustix::io::Errno::AGAIN || error == rustix::io::Errno::INTR => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_laid_out_as_the_kernel_s() {
        assert_eq!((size_of::<LinkAddress>(), align_of::<LinkAddress>()), (20, 4));
        assert_eq!(std::mem::offset_of!(LinkAddress, index), 4);
        assert_eq!(std::mem::offset_of!(LinkAddress, address), 12);
    }
}
