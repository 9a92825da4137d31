// Minimal WHIP client, of a canvas with a drawn picture: eight bars in two
// rows, and a small counter that changes.
const COLOURS = ['#ff1900', '#00d900', '#fff200', '#000dff', '#ff26ff', '#00e6ff', '#202020', '#f0f0f0'];

window.draw = (canvas, count, busy) => {
  const { width, height } = canvas;
  const context = canvas.getContext('2d');
  COLOURS.forEach((colour, nth) => {
    context.fillStyle = colour;
    const [x, y] = [(nth % 4) * width / 4, nth < 4 ? 0 : height / 2];
    context.fillRect(x, y, width / 4, height / 2);
  });
  // Many packets a picture, above what is compared.
  for (let x = 24; busy && x < width; x += 4) {
    for (let y = 0; y < 80; y += 4) {
      context.fillStyle = `hsl(${Math.random() * 360} 80% 50%)`;
      context.fillRect(x, y, 4, 4);
    }
  }
  context.fillStyle = '#000000';
  context.fillRect(0, 0, 24, 24);
  context.fillStyle = `hsl(${count * 7 % 360} 80% 50%)`;
  context.fillRect(4, 4, 16, 16);
};

window.publish = async (stream, key, options = {}) => {
  const { width = 1280, height = 720, every = 40, codec = 'video/H264', port, simulcast, busy, sound } = options;
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width, height });
  let count = 0;
  draw(canvas, count, busy);
  const timer = setInterval(() => draw(canvas, count++, busy), every);
  const media = canvas.captureStream(30);
  const [track] = media.getVideoTracks();
  track.contentHint = 'detail';
  const connection = new RTCPeerConnection();
  const sendEncodings = simulcast
    ? [{ rid: 'h' }, { rid: 'l', scaleResolutionDownBy: 4 }]
    : [{ maxBitrate: 4_000_000 }];
  const transceiver = connection.addTransceiver(track, { direction: 'sendonly', streams: [media], sendEncodings });
  const { codecs } = RTCRtpSender.getCapabilities('video');
  const auxiliary = /rtx|red|ulpfec|flexfec/;
  transceiver.setCodecPreferences([
    ...codecs.filter(({ mimeType }) => mimeType.toLowerCase() === codec.toLowerCase()),
    ...codecs.filter(({ mimeType }) => auxiliary.test(mimeType)),
  ]);
  if (sound) {
    const context = new AudioContext();
    const tone = new OscillatorNode(context, { frequency: 440 });
    const output = new MediaStreamAudioDestinationNode(context);
    tone.connect(output).context.resume();
    tone.start();
    connection.addTransceiver(output.stream.getAudioTracks()[0], { direction: 'sendonly' });
  }
  await connection.setLocalDescription();
  const { sdp } = connection.localDescription;
  const response = await fetch(`/whip/${stream}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/sdp' },
    body: sdp,
  });
  const text = await response.text();
  if (response.status !== 201) return { status: response.status, text };
  const answer = port ? text.replace(/^(a=candidate:.* udp .*) \d+ typ/gm, `$1 ${port} typ`).replace(/^a=candidate:.* tcp .*\r\n/gm, '') : text;
  await connection.setRemoteDescription({ type: 'answer', sdp: answer });
  const location = response.headers.get('location');
  window.publishing = { stream, canvas, connection, transceiver, timer, location, answer: text };
  return { status: 201, location, etag: response.headers.get('etag'), patch: response.headers.get('accept-patch') };
};

// Restarts ICE; true once the connection uses the new credentials.
window.restart = async () => {
  const { connection, location, answer } = publishing;
  const offer = await connection.createOffer({ iceRestart: true });
  await connection.setLocalDescription(offer);
  const lines = connection.localDescription.sdp.split('\r\n');
  const first = (name) => lines.find((line) => line.startsWith(name));
  const fragment = ['a=ice-ufrag:', 'a=ice-pwd:', 'm=', 'a=mid:'].map(first).join('\r\n');
  const response = await fetch(location, {
    method: 'PATCH',
    headers: { 'content-type': 'application/trickle-ice-sdpfrag', 'if-match': '*' },
    body: `${fragment}\r\n`,
  });
  const text = await response.text();
  if (response.status !== 200) return { status: response.status, text };
  const value = (name) => text.split('\r\n').find((line) => line.startsWith(name));
  const sdp = answer.replace(/^a=ice-ufrag:.*$/gm, value('a=ice-ufrag:')).replace(/^a=ice-pwd:.*$/gm, value('a=ice-pwd:'));
  await connection.setRemoteDescription({ type: 'answer', sdp });
  return { status: 200 };
};

// Watches the stream by WHEP.
window.watch = async () => {
  window.viewer = new RTCPeerConnection();
  for (const kind of ['video', 'audio']) viewer.addTransceiver(kind, { direction: 'recvonly' });
  viewer.ontrack = ({ streams: [stream] }) => {
    const video = document.createElement('video');
    Object.assign(video, { srcObject: stream, autoplay: true });
    document.body.append(video);
  };
  await viewer.setLocalDescription();
  const response = await fetch(`/whep/${publishing.stream}`, {
    method: 'POST',
    headers: { 'content-type': 'application/sdp' },
    body: viewer.localDescription.sdp,
  });
  const sdp = await response.text();
  if (response.status === 201) await viewer.setRemoteDescription({ type: 'answer', sdp });
  return response.status;
};

// Level of what the viewer hears, on average, and its pictures.
window.heard = async () => {
  const seen = {};
  for (const report of (await viewer.getStats()).values()) {
    if (report.type !== 'inbound-rtp') continue;
    if (report.kind === 'video') seen.pictures = report.framesDecoded;
    else seen.loudness = Math.sqrt(report.totalAudioEnergy / report.totalSamplesDuration);
  }
  return seen;
};

// Statistics of what is sent.
window.sent = async () => {
  const seen = { state: publishing.connection.connectionState };
  for (const report of (await publishing.connection.getStats()).values()) {
    if (report.type === 'outbound-rtp') (seen.layers ??= []).push(report);
    if (report.type === 'remote-inbound-rtp') seen.remote = report;
    if (report.type === 'candidate-pair' && report.nominated) seen.pair = report;
  }
  return seen;
};

// Mean difference of each bar from what was drawn, in levels, and the size of
// the newest still; null without a still.
window.compared = async () => {
  const response = await fetch(`/api/frames/${publishing.stream}/latest.jpg`, { cache: 'no-store' });
  if (!response.ok) return null;
  const bitmap = await createImageBitmap(await response.blob());
  const pixels = (image, width, height) => {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  };
  const [width, height] = [400, 224];
  const [drawn, seen] = [pixels(publishing.canvas, width, height), pixels(bitmap, width, height)];
  const bars = COLOURS.map((_, nth) => {
    const [left, top] = [(nth % 4) * 100, nth < 4 ? 0 : 112];
    let [sum, count] = [0, 0];
    for (let y = top + 32; y < top + 104; y++) {
      for (let x = left + 8; x < left + 92; x++) {
        for (let channel = 0; channel < 3; channel++) {
          const at = (y * width + x) * 4 + channel;
          sum += Math.abs(drawn[at] - seen[at]);
          count++;
        }
      }
    }
    return sum / count;
  });
  return { width: bitmap.width, height: bitmap.height, worst: Math.max(...bars) };
};
