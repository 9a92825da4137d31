//! WebRTC transport for publishers, viewers and the client: the shared UDP port
//! and ICE over TCP, STUN, SRTP, SDP offers and answers over HTTP, RTP
//! (de)packetizing.

pub mod answer;
pub mod client_hello;
pub mod clock;
pub mod depacketizer;
pub mod fragment;
pub mod frame_assembly;
pub mod gso_batch;
pub mod ice_socket;
pub mod loss_log;
pub mod metrics;
pub mod offer;
pub mod packetizer;
pub mod receiving_peer;
pub mod reception;
pub mod reorder;
pub mod signalling;
pub mod srtp;
pub mod srtp_keys;
pub mod stun;
pub mod tcp;
pub mod udp_mux;
pub mod video_depacketizer;
pub mod webrtc_port;
