// TLS servers of node for the interoperability spec: node interop_node.js FILE, where FILE is JSON, an
// array of options of tls.createServer with `port`, and `keyFile`, `certFile`, `caFile` for the files.
// Each sends a line (version, whether the session was resumed, the client certificate's name or -,
// the protocol of ALPN, the name of SNI), then back what it gets, until that begins with CLOSE.
// SPDX-License-Identifier: MIT
'use strict';
const fs = require('fs');
const tls = require('tls');

const servers = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
let waiting = servers.length;

function read(name) {
    return name && fs.readFileSync(name);
}

for (const options of servers) {
    options.key = read(options.keyFile);
    options.cert = read(options.certFile);
    options.ca = read(options.caFile);
    if (options.psk) {
        const psk = Buffer.from(options.psk);
        options.pskCallback = (socket, identity) => identity === 'device' ? psk : null;
    }
    const server = tls.createServer(options, (socket) => {
        const client = options.requestCert && socket.getPeerCertificate().subject;
        socket.write([socket.getProtocol(), socket.isSessionReused() ? 'resumed' : 'full',
            client ? client.CN : '-', socket.alpnProtocol || '-', socket.servername || '-',
        ].join(' ') + '\n');
        socket.on('data', (data) => {
            if (data.toString('latin1', 0, 5) === 'CLOSE') {
                socket.end();
            } else {
                socket.write(data);
            }
        });
        socket.on('error', (error) => console.error(options.port, error.message));
    });
    server.on('tlsClientError', (error) => console.error(options.port, error.message));
    server.listen(options.port, '127.0.0.1', () => {
        waiting -= 1;
        if (waiting === 0) {
            console.log('ready');
        }
    });
}
