/*
 * The other end of the bench and of the demo, see serve.h. It prints "tcp=PORT udp=PORT" once it
 * listens.
 *
 * SPDX-License-Identifier: MIT
 */
#include "serve.h"

#include <stdio.h>

int main(void)
{
    serve_start();
    unsigned tcp = serve_tcp(&serve_plain, NULL);
    unsigned udp = serve_udp();
    printf("tcp=%u udp=%u\n", tcp, udp);
    if (fflush(stdout) != 0)
        serve_die("stdout");
    serve_forever();
}
