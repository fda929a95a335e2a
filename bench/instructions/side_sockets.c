/*
 * The side of lwIP's sockets: blocking calls, as a thread of its own would make them. lwip_send
 * returns when lwIP has copied the data and lwip_close when the FIN is on its way; neither waits
 * for the peer.
 *
 * SPDX-License-Identifier: MIT
 */
#include "machine.h"
#include "peer.h"
#include "side.h"

#include "lwip/inet.h"
#include "lwip/sockets.h"

static int fd;

static void start(void)
{
}

static void open_connection(void)
{
    struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = lwip_htons(PEER_PORT) };

    if (!inet_aton(PEER_ADDRESS, &peer.sin_addr))
        machine_abort("inet_aton failed");
    fd = lwip_socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        machine_abort("lwip_socket failed");
    if (lwip_connect(fd, (struct sockaddr *)&peer, sizeof(peer)) != 0)
        machine_abort("lwip_connect failed");
}

static void send_all(const void *data, size_t length)
{
    if (lwip_send(fd, data, length, 0) != (ssize_t)length)
        machine_abort("lwip_send failed");
}

static void receive_all(void *data, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t got = lwip_recv(fd, (char *)data + done, length - done, 0);
        if (got <= 0)
            machine_abort("lwip_recv failed");
        done += (size_t)got;
    }
}

static void close_connection(void)
{
    if (lwip_close(fd) != 0)
        machine_abort("lwip_close failed");
}

const struct side side_sockets = {
    .name = "sockets",
    .start = start,
    .open = open_connection,
    .send = send_all,
    .receive = receive_all,
    .close = close_connection,
};
