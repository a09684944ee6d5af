/* A security key in software, for ssh's SecurityKeyProvider: its "handle" is the key itself. OpenSSH's sk-api, version 10. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Of libcrypto, without its headers. */
typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_md_ctx_st EVP_MD_CTX;
EVP_PKEY *EVP_PKEY_new_raw_private_key(int type, void *engine, const unsigned char *key, size_t length);
int EVP_PKEY_get_raw_public_key(const EVP_PKEY *key, unsigned char *out, size_t *length);
EVP_MD_CTX *EVP_MD_CTX_new(void);
int EVP_DigestSignInit(EVP_MD_CTX *ctx, void **pctx, const void *type, void *engine, EVP_PKEY *key);
int EVP_DigestSign(EVP_MD_CTX *ctx, unsigned char *out, size_t *length, const unsigned char *text, size_t text_length);
unsigned char *SHA256(const unsigned char *text, size_t length, unsigned char *out);
int RAND_bytes(unsigned char *out, int length);
enum { ed25519 = 1087, failed = -1, touched = 1 };

struct sk_enroll_response {
  uint8_t flags;
  uint8_t *public_key; size_t public_key_len;
  uint8_t *key_handle; size_t key_handle_len;
  uint8_t *signature; size_t signature_len;
  uint8_t *attestation_cert; size_t attestation_cert_len;
  uint8_t *authdata; size_t authdata_len;
};
struct sk_sign_response {
  uint8_t flags;
  uint32_t counter;
  uint8_t *sig_r; size_t sig_r_len;
  uint8_t *sig_s; size_t sig_s_len;
};

uint32_t sk_api_version(void) { return 0x000a0000; }

int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application, uint8_t flags,
              const char *pin, void **options, struct sk_enroll_response **response) {
  struct sk_enroll_response *made = calloc(1, sizeof *made);
  made->key_handle = malloc(made->key_handle_len = 32);
  made->public_key = malloc(made->public_key_len = 32);
  RAND_bytes(made->key_handle, 32);
  EVP_PKEY *key = EVP_PKEY_new_raw_private_key(ed25519, NULL, made->key_handle, 32);
  if (alg != 1 || !key || !EVP_PKEY_get_raw_public_key(key, made->public_key, &made->public_key_len)) return failed;
  made->flags = flags;
  *response = made;
  return 0;
}

int sk_sign(uint32_t alg, const uint8_t *data, size_t data_len, const char *application, const uint8_t *key_handle,
            size_t key_handle_len, uint8_t flags, const char *pin, void **options, struct sk_sign_response **response) {
  struct sk_sign_response *made = calloc(1, sizeof *made);
  uint8_t text[32 + 1 + 4 + 32];
  made->flags = flags & touched;
  made->counter = 7;
  SHA256((const uint8_t *)application, strlen(application), text);
  text[32] = made->flags;
  memcpy(text + 33, "\0\0\0\7", 4);
  SHA256(data, data_len, text + 37);
  made->sig_r = malloc(made->sig_r_len = 64);
  EVP_PKEY *key = EVP_PKEY_new_raw_private_key(ed25519, NULL, key_handle, key_handle_len);
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  if (!key || EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) != 1) return failed;
  if (EVP_DigestSign(ctx, made->sig_r, &made->sig_r_len, text, sizeof text) != 1) return failed;
  *response = made;
  return 0;
}

int sk_load_resident_keys(const char *pin, void **options, void ***keys, size_t *count) {
  *keys = NULL;
  *count = 0;
  return 0;
}
