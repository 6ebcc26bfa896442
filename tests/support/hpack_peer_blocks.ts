/**
 * Field blocks made by another HPACK implementation, which indexes, evicts, changes its table size and uses
 * Huffman coding on every second connection: the encoder of Python's `hpack` 4.2.0, with random fields.
 * Values are ISO 8859-1.
 *
 * @module
 */
import type { Pair } from "./hpack.ts";

/** A block of a connection, its fields, and the size of the dynamic table behind it. */
export interface PeerBlock {
  readonly hex: string;
  readonly fields: readonly Pair[];
  readonly tableSize: number;
}

/** Blocks by connection. */
export const PEER_CONNECTIONS: readonly (readonly PeerBlock[])[] = [
  [
    {
      hex: "82874483606c33418b8d72f91d35d05b8f34d33f",
      fields: [[":method", "GET"], [":scheme", "https"], [":path", "/a/3"], [
        ":authority",
        "b.example:8443",
      ]],
      tableSize: 97,
    },
    {
      hex:
        "4283d7c37f874483606c0bc01f0881971f0881971f0881971f0881971f088197ba4085f2b26c190b83c7f79f",
      fields: [
        [":method", "PUT"],
        [":scheme", "https"],
        [":path", "/a/2"],
        [":authority", "b.example:8443"],
        ["authorization", "f"],
        ["authorization", "f"],
        ["authorization", "f"],
        ["authorization", "f"],
        ["authorization", "f"],
        ["user-agent", ""],
        ["x-trace", "H;L"],
      ],
      tableSize: 222,
    },
    {
      hex: "838784c1be40899acac8b24d494f6a7f94db2fccbe4193aaa0e19bfe76fffb0ffcfff79c9f",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/"],
        [":authority", "b.example:8443"],
        ["x-trace", "H;L"],
        ["grpc-timeout", "Rf*fx0Ik%0UK|q`A|}Yd"],
      ],
      tableSize: 286,
    },
    {
      hex:
        "c1878541871ae5f23a6ba0bfc0ba4095f2b507aa65aa1d2559338d2b190b5474add6a3f8abc21ff6afefffde90fff7ff527e7fe7fbfffe1fd7766dbddadd1e78fffd9a11eb93feffbae5aff3ffeffff0f8ff98bfe3901bcff14e7efffe7ffdfb73fbff5fef160fafc07f0181f5c1",
      fields: [
        [":method", "PUT"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "a.example"],
        ["x-trace", "H;L"],
        ["user-agent", ""],
        [
          "x-long-name-that-is-not-known",
          "a)%Z`jA~@dX$)\\(v3uCquMxV`gAaPd>)pfpX`\\&|G|6=ix!mLv^`;6)'+GE,",
        ],
        ["grpc-timeout", "Rf*fx0Ik%0UK|q`A|}Yd"],
        ["grpc-timeout", "y"],
        ["grpc-timeout", "Rf*fx0Ik%0UK|q`A|}Yd"],
      ],
      tableSize: 503,
    },
    {
      hex: "838785c51f0888624dffff4193d17f1f0888624dffff4193d17f4083f2b47f84bde3ffcfbfc35f82fff3",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "b.example:8443"],
        ["authorization", "/dT`0Iye"],
        ["authorization", "/dT`0Iye"],
        ["x-b", "Cw^"],
        ["grpc-timeout", "y"],
        ["x-trace", "H;L"],
        ["content-type", "^"],
      ],
      tableSize: 586,
    },
    {
      hex: "828785c7bf1f0888624dffff4193d17f5084fff9f53f5080c6",
      fields: [
        [":method", "GET"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "b.example:8443"],
        ["x-b", "Cw^"],
        ["authorization", "/dT`0Iye"],
        ["accept-encoding", "<,h"],
        ["accept-encoding", ""],
        ["x-trace", "H;L"],
      ],
      tableSize: 683,
    },
    {
      hex:
        "8287c7c4bf7f02b802e187f727ff8ae0ddffafffe1b2bcdcead9bbff9eb0f6c4a7fce229fffe6097fcbf916f85d2f5c5cb8daff336ed166fbdc9f6bfee3a7df8c67a85fff7ffeff77f05848ffefe7f508867ffb270b3fef9c5",
      fields: [
        [":method", "GET"],
        [":scheme", "https"],
        [":path", "/a/2"],
        [":authority", "a.example"],
        ["accept-encoding", "<,h"],
        ["x-b", "0.1AZI^%ES@\\QpKYnQS]yFqG |V2h<Ef?DI-&.t8:.eH4?KSMrTCW94>bmzw"],
        ["grpc-timeout", "Rf*fx0Ik%0UK|q`A|}Yd"],
        ["user-agent", "}`)"],
        ["grpc-timeout", "b>*"],
        ["accept-encoding", "3~dUr>Y_"],
      ],
      tableSize: 925,
    },
    {
      hex:
        "828784c81f08bafff9b7ffb8ff3ffaeb5b7af5fff9fff9abd07fff08f90fbdcc96bebe5fbbc2b2fa3f3ef1f467ab1ff78e362a46bd7c65bdb7fdebdbffe92f8fcfc47f02967dbe9f9bbfff7dd7b3cffff0fff3423ffe0ffe6d638f5089ba18ffd7fe8dfdffdf7f0aff06fffe0593effe6df8f53fbfe72edcba7f8d98b22c06305fc3ff955e8e0fbf577ffe7f1756e58160df07f3719d747f7abfd2bfeffbdb657c59a9cfa9c56abff1dfff71d8a7fab770473646fcd7fff7fbf26cac8f67ffc5fd685991ff89e5c1adbfc6af5ff3bdefff0ff9fe74ffd7fdffdb78fbd13fcffb1c21fffe1bbd53abfbe5fd299d0a8b",
      fields: [
        [":method", "GET"],
        [":scheme", "https"],
        [":path", "/"],
        [":authority", "a.example"],
        ["authorization", "<R~HX~74Rkk<{4C=\\bWav:Iu9.J;C2rDsX;Hj3k/>Hb/nsPPVfCR+PR}cDax"],
        ["content-type", "^"],
        ["x-b", "95jXS{;pQx\\^Ms<a|R/V"],
        ["accept-encoding", "B1b'@i)>"],
        [
          "x-long-name-that-is-not-known",
          "\\ed;|R&yhz\"JRJN!QGI-0/EDF$%8b=;yB<!B-WE-1D0\":3Pl)O'%+)RrpV3n6,h2u%|7}Hr 'uS1agI5xp`)xiJ3aQ<.yM-3a?tWU4R!Oy|vC^oX?j@>>5Hvlh*+aA1\\SymO)W( Ls%2",
        ],
      ],
      tableSize: 1236,
    },
  ],
  [
    {
      hex: "838784410e622e6578616d706c653a383434337a0136be",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/"],
        [":authority", "b.example:8443"],
        ["user-agent", "6"],
        ["user-agent", "6"],
      ],
      tableSize: 99,
    },
    {
      hex: "42035055548784c0",
      fields: [[":method", "PUT"], [":scheme", "https"], [":path", "/"], [
        ":authority",
        "b.example:8443",
      ]],
      tableSize: 141,
    },
    {
      hex: "be8744042f612f304109612e6578616d706c65",
      fields: [[":method", "PUT"], [":scheme", "https"], [":path", "/a/0"], [
        ":authority",
        "a.example",
      ]],
      tableSize: 233,
    },
    {
      hex:
        "c08784bec1507f0d74623a207e2b5c333821612778485752537a4237587150793b6e5c265b59397e404f5967586863714b493f233b515c364852565b3a346a7c69714b255f752973342d6c252454203c4c2a4167532b374e5c38443852783a3b6d6f6c562f2974775d522d61556d3c277d4e6c6e7676254359786827562f275922717b6a7d6f3176563035574c3e3b69606d5e35",
      fields: [
        [":method", "PUT"],
        [":scheme", "https"],
        [":path", "/"],
        [":authority", "a.example"],
        ["user-agent", "6"],
        [
          "accept-encoding",
          "tb: ~+\\38!a'xHWRSzB7XqPy;n\\&[Y9~@OYgXhcqKI?#;Q\\6HRV[:4j|iqK%_u)s4-l%$T <L*AgS+7N\\8D8Rx:;molV/)tw]R-aUm<'}Nlnvv%CYxh'V/'Y\"q{j}o1vV05WL>;i`m^5",
        ],
      ],
      tableSize: 420,
    },
    {
      hex:
        "838784c37a03412d60be4007782d74726163657f0d7264417077224e4e3c48662d60392147345e605b3632647024705037643975416e485b6d5573607a42255a2c707159203b714b6e476b6f65794c264a2a4721564a775234535c51307d3f6d2752793564646e46295f2f71643d2a237c5b604f607b346369284f685a2d556d2938396f2f6b695c35257d7b50566378512b7a32272763457a654f2e4b2f484e7e",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/"],
        [":authority", "b.example:8443"],
        ["user-agent", "A-`"],
        ["user-agent", "A-`"],
        [
          "x-trace",
          "rdApw\"NN<Hf-`9!G4^`[62dp$pP7d9uAnH[mUs`zB%Z,pqY ;qKnGkoeyL&J*G!VJwR4S\\Q0}?m'Ry5ddnF)_/qd=*#|[`O`{4ci(OhZ-Um)89o/ki\\5%}{PVcxQ+z2''cEzeO.K/HN~",
        ],
      ],
      tableSize: 644,
    },
    {
      hex: "838784c5bfc4c4bf",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/"],
        [":authority", "b.example:8443"],
        ["user-agent", "A-`"],
        ["user-agent", "6"],
        ["user-agent", "6"],
        ["user-agent", "A-`"],
      ],
      tableSize: 644,
    },
    {
      hex:
        "828744042f612f32c2a0401d782d6c6f6e672d6e616d652d746861742d69732d6e6f742d6b6e6f776e00a0bec1400c677270632d74696d656f75747f0d3b384b3d78244332586375467b5861514773526f734b2179794b4a7a365c34662d41324d423e607c7167675964206856553b45523b48656b6c3e59545e3220676b267357506d3f7d405d6a725f7b49712d345d6328522d6273664d474c2466323e436c477557522753583a74792f496b4f67702c226976406351287e6e6b67622163503f7b2e79674b6a4c5a",
      fields: [
        [":method", "GET"],
        [":scheme", "https"],
        [":path", "/a/2"],
        [":authority", "a.example"],
        ["cookie", ""],
        ["x-long-name-that-is-not-known", ""],
        ["cookie", ""],
        ["x-long-name-that-is-not-known", ""],
        ["user-agent", "A-`"],
        [
          "grpc-timeout",
          ";8K=x$C2XcuF{XaQGsRosK!yyKJz6\\4f-A2MB>`|qggYd hVU;ER;Hekl>YT^2 gk&sWPm?}@]jr_{Iq-4]c(R-bsfMGL$f2>ClGuWR'SX:ty/IkOgp,\"iv@cQ(~nkgb!cP?{.ygKjLZ",
        ],
      ],
      tableSize: 930,
    },
    {
      hex: "c68784c8c1bf",
      fields: [[":method", "PUT"], [":scheme", "https"], [":path", "/"], [
        ":authority",
        "b.example:8443",
      ], [
        "x-trace",
        "rdApw\"NN<Hf-`9!G4^`[62dp$pP7d9uAnH[mUs`zB%Z,pqY ;qKnGkoeyL&J*G!VJwR4S\\Q0}?m'Ry5ddnF)_/qd=*#|[`O`{4ci(OhZ-Um)89o/ki\\5%}{PVcxQ+z2''cEzeO.K/HN~",
      ], ["x-long-name-that-is-not-known", ""]],
      tableSize: 930,
    },
  ],
  [
    {
      hex: "4283d7c37f874483606c03418b8d72f91d35d05b8f34d33f4082497f84fff20ddfbebebe",
      fields: [
        [":method", "PUT"],
        [":scheme", "https"],
        [":path", "/a/0"],
        [":authority", "b.example:8443"],
        ["te", "^=S"],
        ["te", "^=S"],
        ["te", "^=S"],
        ["te", "^=S"],
      ],
      tableSize: 176,
    },
    {
      hex:
        "c18784bf508380f17f4095f2b507aa65aa1d2559338d2b190b5474add6a3f8ab98fffd2fffffe2ffffdf3d3fffff7ae7ffffe5fffffda96e0f5082fe7fc1bfc0",
      fields: [
        [":method", "PUT"],
        [":scheme", "https"],
        [":path", "/"],
        [":authority", "b.example:8443"],
        ["accept-encoding", "=o_"],
        ["x-long-name-that-is-not-known", "{f\u00d6\u00b7hm\u00cb:\u00df\u00fbt5="],
        ["accept-encoding", '"'],
        ["te", "^=S"],
        ["x-long-name-that-is-not-known", "{f\u00d6\u00b7hm\u00cb:\u00df\u00fbt5="],
        ["accept-encoding", "=o_"],
      ],
      tableSize: 348,
    },
    {
      hex:
        "83878441871ae5f23a6ba0bfc153925ffc59ecf833b0c30f5547c93ffe0ccc7ffc1f0882ffef1f0895fffffaffff9bffffedfffe1ffff3fffff93bdfffcf60bcf3feb727b63631bdfffc3fe53f1df26daf2fa3ffd7f56ef306e28260fb337fbffa6ba78f8f8d8dffbedfff85dabee7abffce7fff29fffe1fcf3cbbff5f81efc4",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/"],
        [":authority", "a.example"],
        ["accept-encoding", "=o_"],
        ["accept", ".?-8LEL///8nl*c<ai/<"],
        ["authorization", "~"],
        ["authorization", "\u00f0\u0080\u00f3\\\u00c4\u00d77v^"],
        ["cookie", "x'StqH/H8\\|m&vIRpJyo#(uTi1: 2/oQK+#4jw&&Q5+q{2qpvon^Y<m\\\"YJT"],
        ["content-type", "v"],
        ["accept-encoding", "=o_"],
      ],
      tableSize: 600,
    },
    {
      hex: "c8874483606c07c2",
      fields: [[":method", "PUT"], [":scheme", "https"], [":path", "/a/1"], [
        ":authority",
        "a.example",
      ]],
      tableSize: 641,
    },
    {
      hex: "828785c7",
      fields: [[":method", "GET"], [":scheme", "https"], [":path", "/index.html"], [
        ":authority",
        "b.example:8443",
      ]],
      tableSize: 641,
    },
    {
      hex: "838785c74085f2b26c190b83c2dfdfc07f0680c6c7be",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "b.example:8443"],
        ["x-trace", "F5;"],
        ["content-type", "v"],
        ["x-long-name-that-is-not-known", ""],
        ["x-long-name-that-is-not-known", "{f\u00d6\u00b7hm\u00cb:\u00df\u00fbt5="],
        ["accept-encoding", "=o_"],
        ["x-long-name-that-is-not-known", ""],
      ],
      tableSize: 744,
    },
    {
      hex:
        "cb8785c91f0895fffffaffff9bffffedfffe1ffff3fffff93bdfffcf7f0084ffcc547fc653ff04bd6ffafff1ae2bffdebb9f6b5cfdeed7ffbdff8b4876acff5fffc322686ffff7e5c5ff8c3451ffe7317f98d1579695fff21ba6e75891f9c715269bfdf17a4ff5f1fc3fdff7934efffa47b5ffd7f3fea337fef65d631edc2be1ffeb65a08cfd33ebb7f2f3d4eabdc221f5ff41669cf83ebfe66bdfe6be555008b25fe3f9b3ff4f71f2bf",
      fields: [
        [":method", "PUT"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "b.example:8443"],
        ["authorization", "\u00f0\u0080\u00f3\\\u00c4\u00d77v^"],
        ["x-trace", "$_l"],
        ["accept-encoding", '"'],
        [
          "accept",
          "Cu'^4V.>P:;-:Zv4}v!uco4r'\\Itl5{X:.!Fll^Y2?Hsnx4%^ABiYp2sXVGmig+V8d'&!9vZW47}c8P#\"'bi[QB/HRF.F~5elc3,3yq\"88mOCU_ak'13mLE,|KC?PWnl0_IDVXQ@8Vx.",
        ],
      ],
      tableSize: 964,
    },
    {
      hex:
        "828784cb50adf9fff7ffff4ffff2fffe9fffffd7fffff4ffff97ffffe9d9ffffcbfffc1ff9fffffa3fffff8bfffffc3fffed7f",
      fields: [[":method", "GET"], [":scheme", "https"], [":path", "/"], [
        ":authority",
        "b.example:8443",
      ], [
        "accept-encoding",
        "*}\u00a6\u00d0\u00a2\u00f8\u00db\u00d9\u00dbQ\u00c5\u00b0$\u00da\u0002\u0013\u0089",
      ]],
      tableSize: 1028,
    },
  ],
  [
    {
      hex:
        "838744042f612f31410e622e6578616d706c653a38343433603c75565554246a666d3268237d546f3d652f78217e6f2e64795467797556526d355b30372449205a47637c7d666a3f3d4724413568363c2d6d783a364bbe400274650124507f0d466473436f7920263872455c2c77365c394e2c7324487d4b6e2c5221372b453c2c2d366e627e61477e40583b6b4c6e28626b34266f692e4732662d7966744656755e4457374f363f715c2a397c7e433f75587a2e3c7c4a555c4f79755071462f37456f6e632d23244a2b7c6b69536a663b6f626a7d464f7e306b3573442624223e726666316548612645304a400c677270632d74696d656f757400500129",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/a/1"],
        [":authority", "b.example:8443"],
        ["cookie", "uVUT$jfm2h#}To=e/x!~o.dyTgyuVRm5[07$I ZGc|}fj?=G$A5h6<-mx:6K"],
        ["cookie", "uVUT$jfm2h#}To=e/x!~o.dyTgyuVRm5[07$I ZGc|}fj?=G$A5h6<-mx:6K"],
        ["te", "$"],
        [
          "accept-encoding",
          'FdsCoy &8rE\\,w6\\9N,s$H}Kn,R!7+E<,-6nb~aG~@X;kLn(bk4&oi.G2f-yftFVu^DW7O6?q\\*9|~C?uXz.<|JU\\OyuPqF/7Eonc-#$J+|kiSjf;obj}FO~0k5sD&$">rff1eHa&E0J',
        ],
        ["grpc-timeout", ""],
        ["accept-encoding", ")"],
      ],
      tableSize: 509,
    },
    {
      hex: "838785c3bf5014996130c95cd98298327b9442327e4e4b765e367e",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "b.example:8443"],
        ["grpc-timeout", ""],
        ["accept-encoding", "\u0099a0\u00c9\\\u00d9\u0082\u00982{\u0094B2~NKv^6~"],
      ],
      tableSize: 576,
    },
    {
      hex:
        "828744042f612f32c5c15308777e6f3774535466c2401d782d6c6f6e672d6e616d652d746861742d69732d6e6f742d6b6e6f776e035d5b395f0144",
      fields: [
        [":method", "GET"],
        [":scheme", "https"],
        [":path", "/a/2"],
        [":authority", "b.example:8443"],
        ["grpc-timeout", ""],
        ["accept", "w~o7tSTf"],
        ["grpc-timeout", ""],
        ["x-long-name-that-is-not-known", "][9"],
        ["content-type", "D"],
      ],
      tableSize: 772,
    },
    {
      hex:
        "42035055548784c94007782d7472616365013ec697500865293e4f6d2d4d765008554733237b7a51574003782d627f0d714d2a4c7c6d5f634257477e3b5e507b24676e60724343743d614e7d67717562566e34212e20354339225f604d32682c335a54563b2b374b576e653e735b5e4661516d21245f462d5c65607b477e294c334e4a2821546964675623783b463732613b583447736d4b534c7971733d2e4c253f703b56315b77545e4c3039594d315e29402d6c63645572783c677a1187f7b241802ff097e196af508e734d7288",
      fields: [
        [":method", "PUT"],
        [":scheme", "https"],
        [":path", "/"],
        [":authority", "b.example:8443"],
        ["x-trace", ">"],
        ["grpc-timeout", ""],
        ["authorization", ""],
        ["accept-encoding", "e)>Om-Mv"],
        ["accept-encoding", "UG3#{zQW"],
        [
          "x-b",
          'qM*L|m_cBWG~;^P{$gn`rCCt=aN}gqubVn4!. 5C9"_`M2h,3ZTV;+7KWne>s[^FaQm!$_F-\\e`{G~)L3NJ(!TidgV#x;F72a;X4GsmKSLyqs=.L%?p;V1[wT^L09YM1^)@-lcdUrx<g',
        ],
        ["user-agent", "\u0087\u00f7\u00b2A\u0080/\u00f0\u0097\u00e1\u0096\u00afP\u008esMr\u0088"],
      ],
      tableSize: 1198,
    },
    {
      hex: "c387844109612e6578616d706c651f0814464d635c5a2e28442c2e4f3c5372594a4f347b5c97a0",
      fields: [
        [":method", "PUT"],
        [":scheme", "https"],
        [":path", "/"],
        [":authority", "a.example"],
        ["authorization", "FMc\\Z.(D,.O<SrYJO4{\\"],
        ["authorization", ""],
        ["cookie", ""],
      ],
      tableSize: 1249,
    },
    {
      hex:
        "838785cfa0c65014235b554427323046295d623060276f2f56566f647a3c6649244461433c47462d70514d407e264462565935484525714a79343550256425202d287a2d235374465b71627166775c5d43475f5d2a372b7c3828c8bf97",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "b.example:8443"],
        ["cookie", ""],
        ["x-long-name-that-is-not-known", "][9"],
        ["accept-encoding", "#[UD'20F)]b0`'o/VVod"],
        ["user-agent", "fI$DaC<GF-pQM@~&DbVY5HE%qJy45P%d% -(z-#StF[qbqfw\\]CG_]*7+|8("],
        ["x-long-name-that-is-not-known", "][9"],
        ["accept-encoding", "#[UD'20F)]b0`'o/VVod"],
        ["authorization", ""],
      ],
      tableSize: 1418,
    },
    {
      hex:
        "838744042f612f33d27f0f7f0d327545767221606a4e562a397e217d4e304f534827414a716d7b707245472c4169327b557d3c55247a2c523671756544702532402c2b30567576575b45322e3f4b437a557c696669795160726b226b427d6a48376639542b315c5b62527d25632c2c366f69583f57252a232153367e6f3f552a7873373e2d4e51614f6c3e27434d6233765c70406c7b5b6f57",
      fields: [[":method", "POST"], [":scheme", "https"], [":path", "/a/3"], [
        ":authority",
        "b.example:8443",
      ], [
        "grpc-timeout",
        "2uEvr!`jNV*9~!}N0OSH'AJqm{prEG,Ai2{U}<U$z,R6queDp%2@,+0VuvW[E2.?KCzU|ifiyQ`rk\"kB}jH7f9T+1\\[bR}%c,,6oiX?W%*#!S6~o?U*xs7>-NQaOl>'CMb3v\\p@l{[oW",
      ]],
      tableSize: 1643,
    },
    {
      hex:
        "8387ccc27a7f0d625b25433e506c3f693d36352c37683027342b7878634c4a69342179356f63452e65362a7568635321743a4f7733535c525c37456c3d5d7a21572b655242496b695b4e7179582d56743052233938257750452122556f38344f52515f626d77302b4750734e60434021747244746623744322447823623e5329427d65493c493b36713f734121434c2a463b77c47f1300d1c2c5c6",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/a/2"],
        [":authority", "a.example"],
        [
          "user-agent",
          'b[%C>Pl?i=65,7h0\'4+xxcLJi4!y5ocE.e6*uhcS!t:Ow3S\\R\\7El=]z!W+eRBIki[NqyX-Vt0R#98%wPE!"Uo84ORQ_bmw0+GPsN`C@!trDtf#tC"Dx#b>S)B}eI<I;6q?sA!CL*F;w',
        ],
        ["user-agent", "\u0087\u00f7\u00b2A\u0080/\u00f0\u0097\u00e1\u0096\u00afP\u008esMr\u0088"],
        ["te", ""],
        ["grpc-timeout", ""],
        ["user-agent", "fI$DaC<GF-pQM@~&DbVY5HE%qJy45P%d% -(z-#StF[qbqfw\\]CG_]*7+|8("],
        ["user-agent", "\u0087\u00f7\u00b2A\u0080/\u00f0\u0097\u00e1\u0096\u00afP\u008esMr\u0088"],
        [
          "x-b",
          'qM*L|m_cBWG~;^P{$gn`rCCt=aN}gqubVn4!. 5C9"_`M2h,3ZTV;+7KWne>s[^FaQm!$_F-\\e`{G~)L3NJ(!TidgV#x;F72a;X4GsmKSLyqs=.L%?p;V1[wT^L09YM1^)@-lcdUrx<g',
        ],
      ],
      tableSize: 1859,
    },
  ],
  [
    {
      hex: "3f2182878541871ae5f23a6ba0bf97",
      fields: [[":method", "GET"], [":scheme", "https"], [":path", "/index.html"], [
        ":authority",
        "a.example",
      ], ["authorization", ""]],
      tableSize: 51,
    },
    {
      hex: "82874483606c07418b8d72f91d35d05b8f34d33f9393",
      fields: [
        [":method", "GET"],
        [":scheme", "https"],
        [":path", "/a/1"],
        [":authority", "b.example:8443"],
        ["accept", ""],
        ["accept", ""],
      ],
      tableSize: 56,
    },
    {
      hex: "203fe11f83878541871ae5f23a6ba0bf9397",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "a.example"],
        ["accept", ""],
        ["authorization", ""],
      ],
      tableSize: 51,
    },
    {
      hex: "203f614283d7c37f8785418b8d72f91d35d05b8f34d33fa097",
      fields: [
        [":method", "PUT"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "b.example:8443"],
        ["cookie", ""],
        ["authorization", ""],
      ],
      tableSize: 98,
    },
    {
      hex: "828784be934082497f81cb6081975383baedcf",
      fields: [
        [":method", "GET"],
        [":scheme", "https"],
        [":path", "/"],
        [":authority", "b.example:8443"],
        ["accept", ""],
        ["te", "J"],
        ["cookie", "f"],
        ["accept", "B7:"],
      ],
      tableSize: 115,
    },
    {
      hex:
        "4283d7c37f874483606c33418b8d72f91d35d05b8f34d33f6081975383baedcf4085f2b26c190b87a83a3ff3e2a5ab40899acac8b24d494f6a7fb7731f8dbeffd07ff3bbff6d6babffbff32066e3ffdfc493f02b37ffb9ba2fffb558fff4caf8f1605e831ecff4e57c6e40f95b0679f77d3d1f08bd6fff3c7031071970eb3228ffe7f9bbfebfd7fd7ffc01ffaafdb7f3e35ffde18bfeefdcfffd7bffe699b8fff7c67f883047cb37f27fffe1a025c19d637f5383baedcf4085f2b26c190bc4fae1fc7fff0ff7efffe7f3d9ae68d3237fff7ffbfce0d5fffb07cfffbffce9fe7ffbffdc9fc66cb9efbc5f0d7f907feef2b355ffdffd4cf0d5c9fffc16f1d3fff53ffe7f",
      fields: [
        [":method", "PUT"],
        [":scheme", "https"],
        [":path", "/a/3"],
        [":authority", "b.example:8443"],
        ["cookie", "f"],
        ["accept", "B7:"],
        ["x-trace", "n1M$wn-p"],
        ["grpc-timeout", "6HwRz'1$S[4Pn~|I1gV~XtcX1-5[gj.[%/}i%wwr18=HQ'6pV:=9e50LhS,8"],
        ["authorization", "5$VE/=VfFPisl]?S#'#<0o(pz5*wP>F_>D:{C<NgV~wL&=EbWK\"o\\M1eEL-i"],
        ["accept", "B7:"],
        ["x-trace", ',U!\\+z<"q4YsNd5`~"EO{E*}]j?}~I!KJLD8ew4?=[C%gn~@g8a%I\\-wj{m^'],
      ],
      tableSize: 99,
    },
    {
      hex:
        "82874483606c0b418b8d72f91d35d05b8f34d33f4085f2b26c190b87a83a3ff3e2a5ab4095f2b507aa65aa1d2559338d2b190b5474add6a3f8ab81f7",
      fields: [
        [":method", "GET"],
        [":scheme", "https"],
        [":path", "/a/2"],
        [":authority", "b.example:8443"],
        ["x-trace", "n1M$wn-p"],
        ["x-long-name-that-is-not-known", "z"],
      ],
      tableSize: 109,
    },
    {
      hex:
        "828785418b8d72f91d35d05b8f34d33f4083f2b47f90d4fe80902d64968965f7e1bc04e7f173a0bebe60abe3f2cffffff8ffffdbfffef2d97fff7ffffedc9fffff4ffffff37fff8fff1fffeb7fffff77fffd9fffffdb4095f2b507aa65aa1d2559338d2b190b5474add6a3f8ab80",
      fields: [
        [":method", "GET"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "b.example:8443"],
        ["x-b", "O9M1c14Iflffzw5EcY&:"],
        ["cookie", ""],
        ["x-b", "O9M1c14Iflffzw5EcY&:"],
        ["x-b", "O9M1c14Iflffzw5EcY&:"],
        [
          "cookie",
          "V*3\u0014\u008a\u00a7-J{\u00fbI\u00db\u0006\u00d1\u0000\u0088\u0011\u0087\u00fb",
        ],
        ["x-long-name-that-is-not-known", ""],
      ],
      tableSize: 118,
    },
  ],
  [
    {
      hex: "8287844109612e6578616d706c65",
      fields: [[":method", "GET"], [":scheme", "https"], [":path", "/"], [
        ":authority",
        "a.example",
      ]],
      tableSize: 51,
    },
    {
      hex:
        "838744042f612f32bf4007782d74726163657f0d41646d6d4c35676f5d512351512862384d4d7b243b3f2c437c334d445e645a2d43644a787d2231694333776f7479676951667a3a263a7d212c2d64584a3042723b645a7c667e41215c4e623e5e7c2b7a273d6a6863654946572e414c5b352979623e3755415e6e6d7171443d5c7028624f6f52433a406f6e45555f7643265c4642365f4855283d273d794e4abe",
      fields: [[":method", "POST"], [":scheme", "https"], [":path", "/a/2"], [
        ":authority",
        "a.example",
      ], [
        "x-trace",
        "AdmmL5go]Q#QQ(b8MM{$;?,C|3MD^dZ-CdJx}\"1iC3wotygiQfz:&:}!,-dXJ0Br;dZ|f~A!\\Nb>^|+z'=jhceIFW.AL[5)yb>7UA^nmqqD=\\p(bOoRC:@onEU_vC&\\FB6_HU(='=yNJ",
      ], [
        "x-trace",
        "AdmmL5go]Q#QQ(b8MM{$;?,C|3MD^dZ-CdJx}\"1iC3wotygiQfz:&:}!,-dXJ0Br;dZ|f~A!\\Nb>^|+z'=jhceIFW.AL[5)yb>7UA^nmqqD=\\p(bOoRC:@onEU_vC&\\FB6_HU(='=yNJ",
      ]],
      tableSize: 271,
    },
    {
      hex: "828784410e622e6578616d706c653a38343433bfbfbfbf",
      fields: [[":method", "GET"], [":scheme", "https"], [":path", "/"], [
        ":authority",
        "b.example:8443",
      ], [
        "x-trace",
        "AdmmL5go]Q#QQ(b8MM{$;?,C|3MD^dZ-CdJx}\"1iC3wotygiQfz:&:}!,-dXJ0Br;dZ|f~A!\\Nb>^|+z'=jhceIFW.AL[5)yb>7UA^nmqqD=\\p(bOoRC:@onEU_vC&\\FB6_HU(='=yNJ",
      ], [
        "x-trace",
        "AdmmL5go]Q#QQ(b8MM{$;?,C|3MD^dZ-CdJx}\"1iC3wotygiQfz:&:}!,-dXJ0Br;dZ|f~A!\\Nb>^|+z'=jhceIFW.AL[5)yb>7UA^nmqqD=\\p(bOoRC:@onEU_vC&\\FB6_HU(='=yNJ",
      ], [
        "x-trace",
        "AdmmL5go]Q#QQ(b8MM{$;?,C|3MD^dZ-CdJx}\"1iC3wotygiQfz:&:}!,-dXJ0Br;dZ|f~A!\\Nb>^|+z'=jhceIFW.AL[5)yb>7UA^nmqqD=\\p(bOoRC:@onEU_vC&\\FB6_HU(='=yNJ",
      ], [
        "x-trace",
        "AdmmL5go]Q#QQ(b8MM{$;?,C|3MD^dZ-CdJx}\"1iC3wotygiQfz:&:}!,-dXJ0Br;dZ|f~A!\\Nb>^|+z'=jhceIFW.AL[5)yb>7UA^nmqqD=\\p(bOoRC:@onEU_vC&\\FB6_HU(='=yNJ",
      ]],
      tableSize: 327,
    },
    {
      hex:
        "42035055548784c2607f0d28525f66637e684222383a7e6e44524c366c622b4c675e726b4429237527323d78295c66226c384a2f7a7b785d7e73297d5c2f7e68413d434776564e5824382a3d577a2137367572283b5c34793a234d7c6a693d5d266d563f44415553595645206c75666e755e304b7a333974685e3e48514b625a282047495b707e3f75322337756c60534c6a5e705d7450c1",
      fields: [[":method", "PUT"], [":scheme", "https"], [":path", "/"], [
        ":authority",
        "a.example",
      ], [
        "cookie",
        '(R_fc~hB"8:~nDRL6lb+Lg^rkD)#u\'2=x)\\f"l8J/z{x]~s)}\\/~hA=CGvVNX$8*=Wz!76ur(;\\4y:#M|ji=]&mV?DAUSYVE lufnu^0Kz39th^>HQKbZ( GI[p~?u2#7ul`SLj^p]tP',
      ], [
        "x-trace",
        "AdmmL5go]Q#QQ(b8MM{$;?,C|3MD^dZ-CdJx}\"1iC3wotygiQfz:&:}!,-dXJ0Br;dZ|f~A!\\Nb>^|+z'=jhceIFW.AL[5)yb>7UA^nmqqD=\\p(bOoRC:@onEU_vC&\\FB6_HU(='=yNJ",
      ]],
      tableSize: 547,
    },
    {
      hex:
        "3f8d02838744042f612f304109612e6578616d706c654007782d7472616365001f083c5838286d783c7d55237e2059794b574c3c7029712b38515269623f523c5c6a4a2b485450773d3d265a494d4668495a262626623b46456755466b49707e1467536143793b48646a26375b4b646d695e394120bf50007f001479274e6e37292664536b3c403776505473274b40401d782d6c6f6e672d6e616d652d746861742d69732d6e6f742d6b6e6f776e00",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/a/0"],
        [":authority", "a.example"],
        ["x-trace", ""],
        ["authorization", "X8(mx<}U#~ YyKWL<p)q+8QRib?R<\\jJ+HTPw==&ZIMFhIZ&&&b;FEgUFkIp"],
        ["x-trace", "gSaCy;Hdj&7[Kdmi^9A "],
        ["x-trace", ""],
        ["accept-encoding", ""],
        ["x-trace", "y'Nn7)&dSk<@7vPTs'K@"],
        ["x-long-name-that-is-not-known", ""],
      ],
      tableSize: 265,
    },
    {
      hex: "42035055548744042f612f334109612e6578616d706c65",
      fields: [[":method", "PUT"], [":scheme", "https"], [":path", "/a/3"], [
        ":authority",
        "a.example",
      ]],
      tableSize: 254,
    },
    {
      hex: "838785be7f0300be400c677270632d74696d656f7574017a5f086f2f43674f753132",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "a.example"],
        ["x-trace", ""],
        ["x-trace", ""],
        ["grpc-timeout", "z"],
        ["content-type", "o/CgOu12"],
      ],
      tableSize: 270,
    },
    {
      hex:
        "838785410e622e6578616d706c653a383434339f50007f031467536143793b48646a26375b4b646d695e3941207f033c59262e6c262139302b352c6d2d635356772f68303455524a3d643f3653336a332f4f25222656204720216a572f5c4c6f68585a3e777829565151675a",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "b.example:8443"],
        ["content-type", ""],
        ["accept-encoding", ""],
        ["x-trace", "gSaCy;Hdj&7[Kdmi^9A "],
        ["grpc-timeout", 'Y&.l&!90+5,m-cSVw/h04URJ=d?6S3j3/O%"&V G !jW/\\LohXZ>wx)VQQgZ'],
      ],
      tableSize: 266,
    },
  ],
  [
    {
      hex:
        "838784418b8d72f91d35d05b8f34d33f4095f2b507aa65aa1d2559338d2b190b5474add6a3f8abff0beff69ff05ef560ffe03ff7ffaff9373ffdfedea56fbb3fff43a34343c9fedd9fcffcdbf9774ffe7dfffda3b37e72e06fed953ffcd4dbef619fffbffbef4f0f1765c9cf266e1ff00afffbcc7cb07ffdcbef57657efe3de78ffec6e2bff3f0bf7f9ffaffc87ff5ffbb67ffcf88b9b3bb1716967bff5ffef6a2ee9b2ef2c9e972718b95b5f5abfff7d7fff0",
      fields: [[":method", "POST"], [":scheme", "https"], [":path", "/"], [
        ":authority",
        "b.example:8443",
      ], [
        "x-long-name-that-is-not-known",
        "v;t?2zOE]0[@|gY[ZCm-;r{AMM4aI+7hx|RXBN$z`lq5xJE5;3 ^O598Fh~[vmUwBfIYIKU|0%}YaWE`JzOq%;&zLb>a6%|Xe;X@$1@[uh$w_Y3SGV4-8@}qlBNrBWIy.cV_Wupkn{,\\",
      ]],
      tableSize: 257,
    },
    {
      hex:
        "4283d7c37f8785c01f08bbe3fc2bff7fdd9595c4ffefb7fb5beb8f5d0eb7092bf9df37febffdcdffcbdd28c9aef17f86bff7ff9fff9f6f8f1fd2cdeb608c7ffcda0ffacc583f1f08bbe3fc2bff7fdd9595c4ffefb7fb5beb8f5d0eb7092bf9df37febffdcdffcbdd28c9aef17f86bff7ff9fff9f6f8f1fd2cdeb608c7ffcda0ffacc583f7f00ff0cff3b7ff1cefb41fffbf8fff3f4c1fddf7aa864776b9febff3e164e2b3fbd6af4831605c78f37e7ffdf7c2297fbf1de7e98bc7fff0fe95c9906af3fffbb3fff87f3fff7ff5ff957f98f05b9d9feff6a6f16ccc7f3bd8abfcffe9387fc480d5e2ffbad6fffe1cffecf029ff3454b560bd06aea2febb7febe9bfcb3613e6dffd619662ffff0eff79bffbeaeffba40899acac8b24d494f6a7f81a3",
      fields: [
        [":method", "PUT"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "b.example:8443"],
        ["authorization", "V!%>)rpe6t[q+-,VkM75Acp*Tg@}K]CjlIPCe!4[$<;9aH,-5P/c/<R0#Ke="],
        ["authorization", "V!%>)rpe6t[q+-,VkM75Acp*Tg@}K]CjlIPCe!4[$<;9aH,-5P/c/<R0#Ke="],
        [
          "x-long-name-that-is-not-known",
          '?q]6vR0{!^Zi1ZTCnAd7R6\'$w-tGr)P%j=GE.aHKX`zU_f)wvhjGw\\(%IIa%Y`Q\\"`@$%"bEuL3)Zn5GQKoxT/n?~cU|t0ipG>p-\\Y>o= |Mn-p0C=Ok2(q@,5XrQc*u@Ffge\\v;K~yB',
        ],
        ["user-agent", ""],
        ["grpc-timeout", "l"],
      ],
      tableSize: 545,
    },
    {
      hex:
        "82878541871ae5f23a6ba0bf7f01b817fbf96af8b6c3df0ff26fffe1be47bffce7079ffdf324ec4ac71ffbfc3ffe9f3e3efffe5cc0adfd2f55a56e29c365dabfe96c757f5821537e87ff99173b55c1f3c17a83b4b73f",
      fields: [
        [":method", "GET"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "a.example"],
        [
          "x-long-name-that-is-not-known",
          '2+*4D2RAvF"i\\Td8^Y=x[Ych/f/V>Xo@9oHv^:E%DN8nN-VtFrBn#-Hn(EA ',
        ],
        ["x-long-name-that-is-not-known", "|I.o4p=*"],
        ["grpc-timeout", "l"],
        ["user-agent", "ue:"],
      ],
      tableSize: 831,
    },
    {
      hex: "3f214283d7c37f874483606c0b418b8d72f91d35d05b8f34d33fba40899acac8b24d494f6a7f81a3",
      fields: [
        [":method", "PUT"],
        [":scheme", "https"],
        [":path", "/a/2"],
        [":authority", "b.example:8443"],
        ["user-agent", ""],
        ["grpc-timeout", "l"],
      ],
      tableSize: 45,
    },
    {
      hex:
        "83874483606c0341871ae5f23a6ba0bf4095f2b507aa65aa1d2559338d2b190b5474add6a3f8abff0cff3b7ff1cefb41fffbf8fff3f4c1fddf7aa864776b9febff3e164e2b3fbd6af4831605c78f37e7ffdf7c2297fbf1de7e98bc7fff0fe95c9906af3fffbb3fff87f3fff7ff5ff957f98f05b9d9feff6a6f16ccc7f3bd8abfcffe9387fc480d5e2ffbad6fffe1cffecf029ff3454b560bd06aea2febb7febe9bfcb3613e6dffd619662ffff0eff79bffbeaeff4085f2b26c190bff07bcdffbfeedaecdda11fff4da16ffe79ab14bffcf1f7fffc2f5bfc78ff0fff25b9dbffe83fff800f9bfff6c8c1349b25d7a7feff8b24eefffff0435df4ad30ffcd68b9da3f1c2ccd1d583f9ff6c6b8ff9fffbcff74e67b4fdbde7ff39bffe7fac4b65e5ce2ffd7ffcdc964bffb7a78418965f1cf4bb3fe5fadc0e8e9de0983e7f9fafdf7e56c71f08b9f883a1fc551659f370d2f128c886ffeb2fffdefe3fdf8cf25c77ffc9c33f6ffe4fe7febeacfff357e22c6f4fefffefff3fddd4e0bdd15b7e497a94ffe67e777fe2dfff66339f377f7e6f6bbdfcc5f34085f2b26c190bff07bcdffbfeedaecdda11fff4da16ffe79ab14bffcf1f7fffc2f5bfc78ff0fff25b9dbffe83fff800f9bfff6c8c1349b25d7a7feff8b24eefffff0435df4ad30ffcd68b9da3f1c2ccd1d583f9ff6c6b8ff9fffbcff74e67b4fdbde7ff39bffe7fac4b65e5ce2ffd7ffcdc964bffb7a78418965f1cf4bb3fe5fadc0e8e9de0983e7f9fafdf7e56c7ba4085f2b26c190bff07bcdffbfeedaecdda11fff4da16ffe79ab14bffcf1f7fffc2f5bfc78ff0fff25b9dbffe83fff800f9bfff6c8c1349b25d7a7feff8b24eefffff0435df4ad30ffcd68b9da3f1c2ccd1d583f9ff6c6b8ff9fffbcff74e67b4fdbde7ff39bffe7fac4b65e5ce2ffd7ffcdc964bffb7a78418965f1cf4bb3fe5fadc0e8e9de0983e7f9fafdf7e56c7",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/a/0"],
        [":authority", "a.example"],
        [
          "x-long-name-that-is-not-known",
          '?q]6vR0{!^Zi1ZTCnAd7R6\'$w-tGr)P%j=GE.aHKX`zU_f)wvhjGw\\(%IIa%Y`Q\\"`@$%"bEuL3)Zn5GQKoxT/n?~cU|t0ipG>p-\\Y>o= |Mn-p0C=Ok2(q@,5XrQc*u@Ffge\\v;K~yB',
        ],
        [
          "x-trace",
          'C5+)uprSMs`iM-]xnGf]w;\\Cu!w?o|f:q`0\\0oK{Qb0gdQfPN>!rdv9\\s4vN-ga?Ps:qbwUrKbnE"+/Pb"`YZNK8N;8x$K<\'G-JWY_@<St3e[8hA0G-.Hhm7hXDp61Mjv=g1x",Zzx-H',
        ],
        ["authorization", "&=jown_JhKUN8clIs5#J`vw+wLd:7^h1hq]hx#,r^OXsr5NZ{^+BtECj%u*c"],
        ["user-agent", ']LYB|-`gi6*BZ*CPC"_*'],
        [
          "x-trace",
          'C5+)uprSMs`iM-]xnGf]w;\\Cu!w?o|f:q`0\\0oK{Qb0gdQfPN>!rdv9\\s4vN-ga?Ps:qbwUrKbnE"+/Pb"`YZNK8N;8x$K<\'G-JWY_@<St3e[8hA0G-.Hhm7hXDp61Mjv=g1x",Zzx-H',
        ],
        ["user-agent", ""],
        [
          "x-trace",
          'C5+)uprSMs`iM-]xnGf]w;\\Cu!w?o|f:q`0\\0oK{Qb0gdQfPN>!rdv9\\s4vN-ga?Ps:qbwUrKbnE"+/Pb"`YZNK8N;8x$K<\'G-JWY_@<St3e[8hA0G-.Hhm7hXDp61Mjv=g1x",Zzx-H',
        ],
      ],
      tableSize: 0,
    },
    {
      hex: "83874483606c33418b8d72f91d35d05b8f34d33f1f088dffffbbfbffffddfffeb7fffdaf",
      fields: [[":method", "POST"], [":scheme", "https"], [":path", "/a/3"], [
        ":authority",
        "b.example:8443",
      ], ["authorization", "\u008cZ\u0094\u0088\u0089"]],
      tableSize: 56,
    },
    {
      hex: "838785be5081d9",
      fields: [[":method", "POST"], [":scheme", "https"], [":path", "/index.html"], [
        ":authority",
        "b.example:8443",
      ], ["accept-encoding", "Q"]],
      tableSize: 48,
    },
    {
      hex: "828785418b8d72f91d35d05b8f34d33f5081d9",
      fields: [[":method", "GET"], [":scheme", "https"], [":path", "/index.html"], [
        ":authority",
        "b.example:8443",
      ], ["accept-encoding", "Q"]],
      tableSize: 48,
    },
  ],
  [
    {
      hex:
        "3f61838744042f612f334109612e6578616d706c654002746500bebe401d782d6c6f6e672d6e616d652d746861742d69732d6e6f742d6b6e6f776e7f0d544c3c46357b7b2552375651356e57425e4e4b51615d47363849235e404979286e51304a2438727d6c6c3c684a3e267d2c442b68315f5b775373596e5b254925476e5a59596c5852767b7428414a47317e502545522a364a4c4e2b465f3c5b7c624c7b706f6e53492821306371304a58362d372f5965254c42435878603e65697d5b314348526a6f68502f3d4002746500400c677270632d74696d656f75743c6c51583220304c3233283c3943634f7965224a7b336356575724615e6f5f20496d63556b33794d7d605e6a596b514d572139274d733a453d4d2b666c",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/a/3"],
        [":authority", "a.example"],
        ["te", ""],
        ["te", ""],
        ["te", ""],
        [
          "x-long-name-that-is-not-known",
          "TL<F5{{%R7VQ5nWB^NKQa]G68I#^@Iy(nQ0J$8r}ll<hJ>&},D+h1_[wSsYn[%I%GnZYYlXRv{t(AJG1~P%ER*6JLN+F_<[|bL{ponSI(!0cq0JX6-7/Ye%LBCXx`>ei}[1CHRjohP/=",
        ],
        ["te", ""],
        ["grpc-timeout", "lQX2 0L23(<9CcOye\"J{3cVWW$a^o_ ImcUk3yM}`^jYkQMW!9'Ms:E=M+fl"],
      ],
      tableSize: 104,
    },
    {
      hex:
        "42035055548784410e622e6578616d706c653a38343433400c677270632d74696d656f75743c6c51583220304c3233283c3943634f7965224a7b336356575724615e6f5f20496d63556b33794d7d605e6a596b514d572139274d733a453d4d2b666c401d782d6c6f6e672d6e616d652d746861742d69732d6e6f742d6b6e6f776e7f0d544c3c46357b7b2552375651356e57425e4e4b51615d47363849235e404979286e51304a2438727d6c6c3c684a3e267d2c442b68315f5b775373596e5b254925476e5a59596c5852767b7428414a47317e502545522a364a4c4e2b465f3c5b7c624c7b706f6e53492821306371304a58362d372f5965254c42435878603e65697d5b314348526a6f68502f3d5f03252a23be400c677270632d74696d656f757400",
      fields: [
        [":method", "PUT"],
        [":scheme", "https"],
        [":path", "/"],
        [":authority", "b.example:8443"],
        ["grpc-timeout", "lQX2 0L23(<9CcOye\"J{3cVWW$a^o_ ImcUk3yM}`^jYkQMW!9'Ms:E=M+fl"],
        [
          "x-long-name-that-is-not-known",
          "TL<F5{{%R7VQ5nWB^NKQa]G68I#^@Iy(nQ0J$8r}ll<hJ>&},D+h1_[wSsYn[%I%GnZYYlXRv{t(AJG1~P%ER*6JLN+F_<[|bL{ponSI(!0cq0JX6-7/Ye%LBCXx`>ei}[1CHRjohP/=",
        ],
        ["content-type", "%*#"],
        ["content-type", "%*#"],
        ["grpc-timeout", ""],
      ],
      tableSize: 91,
    },
    {
      hex:
        "20838785410e622e6578616d706c653a38343433400c677270632d74696d656f7574004003782d62063395e7fc2de6",
      fields: [
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "b.example:8443"],
        ["grpc-timeout", ""],
        ["x-b", "3\u0095\u00e7\u00fc-\u00e6"],
      ],
      tableSize: 0,
    },
    {
      hex:
        "3f61828785410e622e6578616d706c653a38343433401d782d6c6f6e672d6e616d652d746861742d69732d6e6f742d6b6e6f776e7f0d544c3c46357b7b2552375651356e57425e4e4b51615d47363849235e404979286e51304a2438727d6c6c3c684a3e267d2c442b68315f5b775373596e5b254925476e5a59596c5852767b7428414a47317e502545522a364a4c4e2b465f3c5b7c624c7b706f6e53492821306371304a58362d372f5965254c42435878603e65697d5b314348526a6f68502f3d4003782d62063395e7fc2de640027465005f03252a236008606f5b6574596c23",
      fields: [
        [":method", "GET"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "b.example:8443"],
        [
          "x-long-name-that-is-not-known",
          "TL<F5{{%R7VQ5nWB^NKQa]G68I#^@Iy(nQ0J$8r}ll<hJ>&},D+h1_[wSsYn[%I%GnZYYlXRv{t(AJG1~P%ER*6JLN+F_<[|bL{ponSI(!0cq0JX6-7/Ye%LBCXx`>ei}[1CHRjohP/=",
        ],
        ["x-b", "3\u0095\u00e7\u00fc-\u00e6"],
        ["te", ""],
        ["content-type", "%*#"],
        ["cookie", "`o[etYl#"],
      ],
      tableSize: 127,
    },
    {
      hex:
        "42035055548744042f612f33410e622e6578616d706c653a38343433537f0d324b635a79704221426e5b663f2f6a576d2029474f6c5f3c7d467e56253f326e606d4123245f564b384a2b3220396174585c704d374e3a736e6d43226d76267220373c42292943316b57405a4e504a502749686f596c5c5138645d667b39604b5222776866504d7345225a5e75463f3f3d4b3762525f772e2c7b244370444e5f5c74286d3b29202e5b542549401d782d6c6f6e672d6e616d652d746861742d69732d6e6f742d6b6e6f776e3c34615c6f336d724b372547266e6a4e497930443d314d29567c2045697252502e60555a6856253148734c36242f703c61527e2a205d4c4b5f624650605f3c7d3970313a52414b4b3b433a58354f407c353e565e4330244836525b2544636a51775b5b6b2a746d602e2e785423525151447a2e293636752d616343be400c677270632d74696d656f7574004003782d62036d423c5f3c7d3970313a52414b4b3b433a58354f407c353e565e4330244836525b2544636a51775b5b6b2a746d602e2e785423525151447a2e293636752d616343",
      fields: [
        [":method", "PUT"],
        [":scheme", "https"],
        [":path", "/a/3"],
        [":authority", "b.example:8443"],
        [
          "accept",
          '2KcZypB!Bn[f?/jWm )GOl_<}F~V%?2n`mA#$_VK8J+2 9atX\\pM7N:snmC"mv&r 7<B))C1kW@ZNPJP\'IhoYl\\Q8d]f{9`KR"whfPMsE"Z^uF??=K7bR_w.,{$CpDN_\\t(m;) .[T%I',
        ],
        [
          "x-long-name-that-is-not-known",
          "4a\\o3mrK7%G&njNIy0D=1M)V| EirRP.`UZhV%1HsL6$/p<aR~* ]LK_bFP`",
        ],
        ["content-type", "}9p1:RAKK;C:X5O@|5>V^C0$H6R[%DcjQw[[k*tm`..xT#RQQDz.)66u-acC"],
        ["content-type", "}9p1:RAKK;C:X5O@|5>V^C0$H6R[%DcjQw[[k*tm`..xT#RQQDz.)66u-acC"],
        ["grpc-timeout", ""],
        ["x-b", "mB<"],
        ["content-type", "}9p1:RAKK;C:X5O@|5>V^C0$H6R[%DcjQw[[k*tm`..xT#RQQDz.)66u-acC"],
      ],
      tableSize: 104,
    },
    {
      hex:
        "8287854109612e6578616d706c654003782d620170400c677270632d74696d656f75743c6c51583220304c3233283c3943634f7965224a7b336356575724615e6f5f20496d63556b33794d7d605e6a596b514d572139274d733a453d4d2b666c5f037e40235f3c7d3970313a52414b4b3b433a58354f407c353e565e4330244836525b2544636a51775b5b6b2a746d602e2e785423525151447a2e293636752d616343",
      fields: [
        [":method", "GET"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "a.example"],
        ["x-b", "p"],
        ["grpc-timeout", "lQX2 0L23(<9CcOye\"J{3cVWW$a^o_ ImcUk3yM}`^jYkQMW!9'Ms:E=M+fl"],
        ["content-type", "~@#"],
        ["content-type", "}9p1:RAKK;C:X5O@|5>V^C0$H6R[%DcjQw[[k*tm`..xT#RQQDz.)66u-acC"],
      ],
      tableSize: 104,
    },
    {
      hex:
        "3f8d02828785410e622e6578616d706c653a38343433603c35686775354c775e716c7e71753a68533746323d246b5775297237384c333d2b74382a574b5f2b613a475d746d5a66617236487a5b5c377e514c4f794007782d74726163653c546f5a7873336e3c653b2b4a6f624b3e6a216e2f552f4f283d5b7764366e23413a2f512e232e275662614054655324515f597652376369303d274d38be40027465015a5f03252a23",
      fields: [
        [":method", "GET"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "b.example:8443"],
        ["cookie", "5hgu5Lw^ql~qu:hS7F2=$kWu)r78L3=+t8*WK_+a:G]tmZfar6Hz[\\7~QLOy"],
        ["x-trace", "ToZxs3n<e;+JobK>j!n/U/O(=[wd6n#A:/Q.#.'Vba@TeS$Q_YvR7ci0='M8"],
        ["x-trace", "ToZxs3n<e;+JobK>j!n/U/O(=[wd6n#A:/Q.#.'Vba@TeS$Q_YvR7ci0='M8"],
        ["te", "Z"],
        ["content-type", "%*#"],
      ],
      tableSize: 279,
    },
    {
      hex:
        "828785410e622e6578616d706c653a383434336008606f5b6574596c237a08733e7d4237277240c24003782d6214282f79257e7c72762a7e4d5d7d2d71347255422a7f047f0d285c722c255851677866245a37252d3456393d6d3864533979275d2a5b4a635b6960793e5f66287d436c70477e34793a716d313d4c512920304163743d5c5d2d46775d73563644406261276948202b72674d217962233f2d4d533c3c7c386c522e4c6a37454e657e5b6f525f33513f6d37233a643a5a503b3f3f6b5a5d724e323a714a366a6c38782b747c514007782d74726163653c546f5a7873336e3c653b2b4a6f624b3e6a216e2f552f4f283d5b7764366e23413a2f512e232e275662614054655324515f597652376369303d274d384003782d62036d423c",
      fields: [
        [":method", "GET"],
        [":scheme", "https"],
        [":path", "/index.html"],
        [":authority", "b.example:8443"],
        ["cookie", "`o[etYl#"],
        ["user-agent", "s>}B7'r@"],
        ["te", "Z"],
        ["x-b", "(/y%~|rv*~M]}-q4rUB*"],
        [
          "te",
          "(\\r,%XQgxf$Z7%-4V9=m8dS9y']*[Jc[i`y>_f(}ClpG~4y:qm1=LQ) 0Act=\\]-Fw]sV6D@ba'iH +rgM!yb#?-MS<<|8lR.Lj7ENe~[oR_3Q?m7#:d:ZP;??kZ]rN2:qJ6jl8x+t|Q",
        ],
        ["x-trace", "ToZxs3n<e;+JobK>j!n/U/O(=[wd6n#A:/Q.#.'Vba@TeS$Q_YvR7ci0='M8"],
        ["x-b", "mB<"],
      ],
      tableSize: 137,
    },
  ],
];
