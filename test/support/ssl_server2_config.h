/*
 * ssl_server2 without the extension max_fragment_length: a server that takes no notice of the size
 * of records that it is asked for.
 *
 * SPDX-License-Identifier: MIT
 */
#undef MBEDTLS_SSL_MAX_FRAGMENT_LENGTH
