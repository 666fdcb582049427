/* What an application does that gives S/MIME to libcrypto: whole messages in memory, in and out, through the CMS API alone.
 *
 * usage: libcrypto open|open-der|protect INPUT SIGNER.pem SIGNER.key READER.pem READER.key
 * Each line on standard input is a number of messages; the answer is one line: CPU seconds (user and system) for all of them,
 * and how many bytes the last one came to. Keys and certificates are read once. "open" decrypts and verifies the signature, not
 * the chain, of a mail: MIME and base64 around the one structure and inside it. "open-der" does so with bare structures, the
 * signature opaque. "protect" signs and encrypts (AES-256-CBC), and writes a mail.
 */
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static X509 *signer, *reader;
static EVP_PKEY *signer_key, *reader_key;
static STACK_OF(X509) *readers;
static int mail;

static void must(int good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "libcrypto: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static BIO *file(const char *path)
{
    BIO *bio = BIO_new_file(path, "rb");
    must(bio != NULL, path);
    return bio;
}

static X509 *certificate(const char *path)
{
    BIO *bio = file(path);
    X509 *found = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    must(found != NULL, path);
    BIO_free(bio);
    return found;
}

static EVP_PKEY *private_key(const char *path)
{
    BIO *bio = file(path);
    EVP_PKEY *found = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    must(found != NULL, path);
    BIO_free(bio);
    return found;
}

static BIO *memory(void)
{
    BIO *bio = BIO_new(BIO_s_mem());
    must(bio != NULL, "memory");
    return bio;
}

/* The message decrypted and verified; how long its content is. */
static long open_message(const char *data, long size)
{
    BIO *in = BIO_new_mem_buf(data, (int)size), *inside = memory(), *content = memory(), *detached = NULL;
    CMS_ContentInfo *enveloped = mail ? SMIME_read_CMS(in, NULL) : d2i_CMS_bio(in, NULL);
    must(enveloped != NULL, "read the outer structure");
    must(CMS_decrypt(enveloped, reader_key, reader, NULL, inside, CMS_BINARY), "decrypt");
    CMS_ContentInfo_free(enveloped);
    BIO_free(in);
    CMS_ContentInfo *signed_data = mail ? SMIME_read_CMS(inside, &detached) : d2i_CMS_bio(inside, NULL);
    must(signed_data != NULL, "read the inner structure");
    must(CMS_verify(signed_data, NULL, NULL, detached, content, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY), "verify");
    char *bytes;
    long length = BIO_get_mem_data(content, &bytes);
    CMS_ContentInfo_free(signed_data);
    BIO_free(detached);
    BIO_free(inside);
    BIO_free(content);
    return length;
}

/* The content signed and encrypted; how long the message is. */
static long protect_message(const char *data, long size)
{
    BIO *content = BIO_new_mem_buf(data, (int)size), *inside = memory(), *out = memory();
    const int detached = CMS_BINARY | CMS_STREAM | CMS_DETACHED, streamed = CMS_BINARY | CMS_STREAM;
    CMS_ContentInfo *signed_data = CMS_sign(signer, signer_key, NULL, content, detached);
    must(signed_data != NULL && SMIME_write_CMS(inside, signed_data, content, detached), "sign");
    CMS_ContentInfo_free(signed_data);
    BIO_free(content);
    CMS_ContentInfo *enveloped = CMS_encrypt(readers, inside, EVP_aes_256_cbc(), streamed);
    must(enveloped != NULL && SMIME_write_CMS(out, enveloped, inside, streamed), "encrypt");
    char *bytes;
    long length = BIO_get_mem_data(out, &bytes);
    CMS_ContentInfo_free(enveloped);
    BIO_free(inside);
    BIO_free(out);
    return length;
}

static double cpu(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)used.ru_utime.tv_sec + (double)used.ru_stime.tv_sec
           + 1e-6 * ((double)used.ru_utime.tv_usec + (double)used.ru_stime.tv_usec);
}

int main(int argc, char **argv)
{
    must(argc == 7, "usage: libcrypto open|open-der|protect INPUT SIGNER.pem SIGNER.key READER.pem READER.key");
    long (*work)(const char *, long) = strcmp(argv[1], "protect") == 0 ? protect_message : open_message;
    mail = strcmp(argv[1], "open-der") != 0;
    signer = certificate(argv[3]);
    signer_key = private_key(argv[4]);
    reader = certificate(argv[5]);
    reader_key = private_key(argv[6]);
    readers = sk_X509_new_null();
    must(readers != NULL && sk_X509_push(readers, reader), "memory");
    FILE *input = fopen(argv[2], "rb");
    must(input != NULL && fseek(input, 0, SEEK_END) == 0, argv[2]);
    long size = ftell(input);
    rewind(input);
    char *data = malloc((size_t)size);
    must(data != NULL && fread(data, 1, (size_t)size, input) == (size_t)size, argv[2]);
    fclose(input);
    long messages;
    while (scanf("%ld", &messages) == 1) {
        long length = 0;
        double before = cpu();
        for (long i = 0; i < messages; i++)
            length = work(data, size);
        printf("%.6f %ld\n", cpu() - before, length);
        fflush(stdout);
    }
    return 0;
}
